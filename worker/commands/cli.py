"""The command line, `allocation`: each command is a module of `worker.commands`, imported when it is called."""

import importlib
import sys
from pathlib import Path
from typing import Any

import click

from config.settings import FormatError, SettingsError

COMMANDS = {
    "demo": "run everything on one machine with sample orders; leaves nothing behind",
    "sandbox": "simulated PRO API with faults that can be switched on",
    "check": "validate settings and merchant files",
    "publish": "publish order-created events",
    "status": "health and number of shipments per merchant and state",
    "explain": "full history of a shipment, and what happens next",
    "failed": "failed shipments, grouped by cause",
    "replay": "requeue failed shipments or rejected events",
    "rejected": "rejected events, grouped by reason",
    "dismiss": "mark failed shipments, rejected events or lost orders as dealt with",
    "merchants": "merchant files in use and the state of each merchant",
    "hold": "stop a merchant",
    "resume": "lift the hold and the pause of a merchant",
    "cancel": "give up an unfinished shipment",
    "emit": "publish the event of a settled shipment again",
    "audit": "actions of operators",
    "example": "print an example order, merchant file or environment",
    "schema": "JSON Schemas of events and merchant files, and the AsyncAPI document",
    "intake": "process: read the orders stream",
    "flower": "process: Flower, the monitoring UI",
    "metrics": "process: Prometheus metrics, for those who do not run Flower",
    "health": "whether a process on this machine is alive; for container health checks",
}


class _Lazy(click.Group):
    """Imports only the command that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"worker.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="allocation-worker", prog_name="allocation")
def _allocation() -> None:
    """Allocate shipments to carrier services: from order-created events to allocated events with label links.

    Exit codes: 0 success, 1 a problem was found or the server is unavailable, 2 wrong usage or settings.
    """


def _is_text(argument: str) -> bool:
    """Whether an argument is text: bytes that are no UTF-8 are surrogates in it, which nothing can print or store."""
    return not any("\ud800" <= each <= "\udfff" for each in argument)


def main(argv: list[str] | None = None) -> Any:
    """Run the command line; the entry point of the console script."""
    for argument in sys.argv[1:] if argv is None else argv:
        if not _is_text(argument) and not Path(argument).exists():
            click.echo(f"allocation: an argument is not UTF-8: {argument!a}", err=True)
            sys.exit(2)
    try:
        return _allocation(argv)
    except SettingsError as error:
        for line in str(error).splitlines():
            click.echo(f"allocation: {line}", err=True)
        sys.exit(2)
    except FormatError as error:
        click.echo(f"allocation: {error}.", err=True)
        sys.exit(1)
