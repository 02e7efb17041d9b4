"""`allocation health ROLE`: the container's health check; reads a heartbeat file, or queries Flower."""

import http.client
import ipaddress
import os
import sys
import urllib.request

import click

from worker.commands.example_lines import example
from worker.observability.heartbeat import ForeignFolderError, is_alive
from worker.processes.environment import load

FLOWER_TIMEOUT_S = 3.0


@click.command(epilog=example("allocation health worker"))
@click.argument("role", type=click.Choice(["intake", "worker", "beat", "flower"]))
def command(role: str) -> None:
    """Whether a process of ROLE on this machine is alive: exit code 0, else 1.

    Intake, worker and beat give a heartbeat every few seconds; for Flower its own health page is requested.
    """
    try:
        alive = _flower_responds() if role == "flower" else is_alive(role)
    except ForeignFolderError as error:
        raise click.ClickException(f"{role}: {error}") from None
    if not alive:
        click.echo(f"{role}: no heartbeat", err=True)
        sys.exit(1)
    click.echo(f"{role}: alive")


def _flower_responds() -> bool:
    settings = load()
    url = f"http://{_reached_at(settings.flower_address)}:{settings.flower_port}{_prefix()}/healthcheck"
    # No proxy is used between two processes of one machine, regardless of the environment.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=FLOWER_TIMEOUT_S) as response:
            return bool(response.status == 200)  # noqa: PLR2004  # OK
    except (OSError, http.client.HTTPException, ValueError):
        return False


def _reached_at(address: str) -> str:
    """Where a process of this machine finds one that listens there."""
    try:
        listening = ipaddress.ip_address(address)
    except ValueError:
        return address
    if listening.is_unspecified:
        listening = ipaddress.ip_address("127.0.0.1" if listening.version == 4 else "::1")  # noqa: PLR2004  # IPv4
    return f"[{listening}]" if listening.version == 6 else str(listening)  # noqa: PLR2004  # IPv6


def _prefix() -> str:
    """The prefix that Flower takes from its own variable."""
    prefix = os.environ.get("FLOWER_URL_PREFIX", "").strip("/")
    return f"/{prefix}" if prefix else ""
