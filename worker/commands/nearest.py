"""Errors for values that do not exist: they list the known or the nearest ones."""

from collections.abc import Sequence
from difflib import get_close_matches

import click

from worker.observability.text import visible

_LISTED = 10


def no_such(kind: str, value: str, known: Sequence[str]) -> click.ClickException:
    """The error for a value that does not exist. `kind`: what it is, such as merchant."""
    listed = sorted(known) if len(known) <= _LISTED else nearest(value, known)
    names = ", ".join(visible(name) for name in listed)
    which = "known" if len(known) <= _LISTED else "nearest"
    advice = f"{which}: {names}" if names else "there is none"
    return click.ClickException(visible(f"no {kind} {value!r}; ") + advice)


def nearest(value: str, known: Sequence[str]) -> list[str]:
    """The known values most like this one."""
    return get_close_matches(value, known, n=_LISTED, cutoff=0.0)
