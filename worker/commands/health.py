"""`allocation health ROLE`: the container's health check; reads a file and imports next to nothing."""

import sys

import click

from worker.health import is_alive


@click.command()
@click.argument("role", type=click.Choice(["intake", "worker", "beat"]))
def command(role: str) -> None:
    """Whether a process of ROLE on this machine has given a heartbeat lately: exit code 0, else 1."""
    if not is_alive(role):
        click.echo(f"{role}: no heartbeat", err=True)
        sys.exit(1)
    click.echo(f"{role}: alive")
