"""`allocation flower`: starts Flower read-only, and refuses to show it to the world without a password."""

import asyncio
import os
import sys

import click

from config.settings import Settings, SettingsError, load
from worker.format import introduce
from worker.telemetry import start_logging

_COLUMNS = "name,args,kwargs,state,received,runtime,worker"
"""What a task's line shows: its arguments begin with merchant, number of shipments and strategy."""

_MOST_TASKS = "10000"
"""How many tasks Flower keeps in memory, some kilobytes each; the ledger keeps the history."""


@click.command()
def command() -> None:
    """Start Flower on ALLOCATION_FLOWER_ADDRESS:ALLOCATION_FLOWER_PORT, read-only.

    Beyond loopback ALLOCATION_FLOWER_BASIC_AUTH=user:password is needed.
    """
    settings = load()
    start_logging()
    asyncio.run(introduce(settings))
    if auth := _auth(settings):
        # Through the environment: a command line can be read by everybody on the machine.
        os.environ["FLOWER_BASIC_AUTH"] = auth
    os.environ.setdefault("FLOWER_MAX_TASKS", _MOST_TASKS)
    where = [f"--address={settings.flower_address}", f"--port={settings.flower_port}"]
    shown = [f"--tasks_columns={_COLUMNS}", "--read-only", "--logging=warning"]
    os.execv(sys.executable, [sys.executable, "-m", "celery", "-A", "worker", "flower", *where, *shown])  # noqa: S606


def _auth(settings: Settings) -> str:
    """Who may look, '' for everybody on this machine."""
    auth = settings.flower_basic_auth.get_secret_value() if settings.flower_basic_auth else ""
    if not auth and settings.flower_is_exposed:
        raise SettingsError(
            f"ALLOCATION_FLOWER_ADDRESS: {settings.flower_address} can be reached from other machines; "
            "set ALLOCATION_FLOWER_BASIC_AUTH=user:password, or use 127.0.0.1"
        )
    # Flower splits at commas and takes each part for somebody who may look: half a password would be one.
    if auth and not all(user and password for user, _, password in (who.partition(":") for who in auth.split(","))):
        raise SettingsError(
            "ALLOCATION_FLOWER_BASIC_AUTH: must be user:password, or several with commas between; "
            "choose a password without a comma"
        )
    return auth
