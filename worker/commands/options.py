"""Options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from worker.ledger.operator_actions import this_user

F = TypeVar("F", bound=Callable[..., Any])


def why(command: F) -> F:
    """`--why`: the reason, for the audit log."""
    return click.option("--why", required=True, metavar="TEXT", help="The reason, for the audit log.")(command)


def by(command: F) -> F:
    """`--by`: the operator, for the audit log."""
    return click.option(
        "--by", default=this_user, show_default="user and host", metavar="WHO", help="The operator, for the audit log."
    )(command)
