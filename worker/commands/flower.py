"""`allocation flower`: starts Flower read-only, and refuses to show it to the world without a password."""

import os
import sys

import click

from config.settings import SettingsError, load


@click.command()
def command() -> None:
    """Start Flower on ALLOCATION_FLOWER_ADDRESS:ALLOCATION_FLOWER_PORT, read-only.

    Beyond loopback ALLOCATION_FLOWER_BASIC_AUTH=user:password is needed.
    """
    settings = load()
    auth = settings.flower_basic_auth.get_secret_value() if settings.flower_basic_auth else ""
    if settings.flower_is_exposed and ":" not in auth:
        raise SettingsError(
            f"ALLOCATION_FLOWER_ADDRESS: {settings.flower_address} can be reached from other machines; "
            "set ALLOCATION_FLOWER_BASIC_AUTH=user:password, or use 127.0.0.1"
        )
    if auth:
        # Through the environment: a command line can be read by everybody on the machine.
        os.environ["FLOWER_BASIC_AUTH"] = auth
    words = ["-A", "worker", "flower", f"--address={settings.flower_address}", f"--port={settings.flower_port}"]
    os.execv(sys.executable, [sys.executable, "-m", "celery", *words, "--read-only", "--logging=warning"])  # noqa: S606
