"""`allocation health ROLE`: the container's health check; looks at a file, or asks Flower itself."""

import sys
import urllib.error
import urllib.request

import click

from config.settings import load
from worker.health import is_alive

FLOWER_TIMEOUT_S = 3.0


@click.command()
@click.argument("role", type=click.Choice(["intake", "worker", "beat", "flower"]))
def command(role: str) -> None:
    """Whether a process of ROLE on this machine is alive: exit code 0, else 1.

    Intake, worker and beat give a heartbeat every few seconds; Flower is asked for its own health page.
    """
    if not (_flower_answers() if role == "flower" else is_alive(role)):
        click.echo(f"{role}: no sign of life", err=True)
        sys.exit(1)
    click.echo(f"{role}: alive")


def _flower_answers() -> bool:
    url = f"http://127.0.0.1:{load().flower_port}/healthcheck"
    try:
        with urllib.request.urlopen(url, timeout=FLOWER_TIMEOUT_S) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004  # OK
    except (urllib.error.URLError, TimeoutError):
        return False
