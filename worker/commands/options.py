"""Options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from worker.ledger.operator_actions import checked_text, this_user

F = TypeVar("F", bound=Callable[..., Any])


class _Text(click.ParamType[str]):
    """Text for the audit log and for tables: not blank, and of a bounded length."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuses what the audit log cannot take."""
        try:
            return checked_text(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def why(command: F) -> F:
    """`--why`: the reason, for the audit log."""
    option = click.option("--why", required=True, type=_Text(), metavar="TEXT", help="The reason, for the audit log.")
    return option(command)


def failed_selection(command: F) -> F:
    """Options that select failed shipments: references, `--merchant`, `--reason`, `--strategy` and `--all`."""
    reason = "Failed shipments (or rejected events) with this reason."
    for option in (
        click.option("--all", "everything", is_flag=True, help="All failed shipments."),
        click.option("--strategy", metavar="S", help="Failed shipments with this last strategy."),
        click.option("--reason", metavar="R", help=reason),
        click.option("--merchant", metavar="M", help="Failed shipments of this merchant."),
        click.argument("references", nargs=-1, metavar="[REFERENCE]..."),
    ):
        command = option(command)
    return command


def by(command: F) -> F:
    """`--by`: the operator, for the audit log."""
    about = "The operator, for the audit log."
    option = click.option(
        "--by", default=this_user, show_default="user and host", type=_Text(), metavar="WHO", help=about
    )
    return option(command)
