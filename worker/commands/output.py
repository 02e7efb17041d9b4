"""What commands print: tables, JSON and text, with text from outside escaped."""

import json
import sys
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import click
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.observability.text import visible

WIDE = 100_000
"""Columns of an output that is no terminal: a program that reads it wants one line per row."""


def example(*lines: str) -> str:
    """The end of a command's help: command lines to copy, which click does not join into a paragraph."""
    return "\n".join(["\b", "Example:", *(f"  {line}" for line in lines)])


def cell(value: object, style: str = "") -> Text:
    """A value in a table, as it is: rich reads no markup in it. None is `-`."""
    return Text("-" if value is None else visible(str(value)), style=style)


def table(*columns: str) -> Table:
    """An empty table. A column `#name` holds numbers, a column `~name` is folded when it does not fit."""
    result = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.startswith("#") else "left"
        result.add_column(
            column.removeprefix("#").removeprefix("~"),
            justify=justify,
            no_wrap=not column.startswith("~"),
            overflow="fold" if column.startswith("~") else "ellipsis",
        )
    return result


def console(stream: TextIO | None = None) -> Console:
    """Where tables go: coloured and fitted on a terminal, plain and as wide as they are elsewhere."""
    stream = stream or sys.stdout
    width = None if stream.isatty() else WIDE
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def print_table(rows: Table) -> None:
    """Print a table; elsewhere than on a terminal without the empty lines and the padding that rich puts around it.

    A table that does not fit a terminal without tearing words is printed as a list, one value per line.
    """
    out = console()
    if out.is_terminal:
        if _narrowest(rows) <= out.width:
            out.print(rows)
        else:
            _print_as_list(rows, out.width)
        return
    lines = None if out.options.ascii_only else _plain_lines(rows)
    if lines is None:
        with out.capture() as captured:
            out.print(rows)
        lines = captured.get().splitlines()
    click.echo("\n".join(line.rstrip() for line in lines).strip("\n"))


def _plain_lines(rows: Table) -> list[str] | None:
    """The lines that rich would print elsewhere than on a terminal, in a fraction of its time.

    None for a table that does not fit.
    """
    columns = [[str(value) for value in (column.header, *column.cells)] for column in rows.columns]
    widths = [max(map(cell_len, values)) for values in columns]
    if sum(widths) + 3 * len(widths) > WIDE:
        return None
    padded = [
        [_pad(value, width, is_right=column.justify == "right") for value in values]
        for column, values, width in zip(rows.columns, columns, widths, strict=True)
    ]
    head, *rest = (f" {'   '.join(values)}" for values in zip(*padded, strict=True))
    return [head, " " + "─" * (sum(widths) + 3 * (len(widths) - 1)), *rest]


def _pad(text: str, width: int, *, is_right: bool) -> str:
    text = text.rstrip() if is_right else text
    spaces = " " * (width - cell_len(text))
    return spaces + text if is_right else text + spaces


def _narrowest(rows: Table) -> int:
    """The columns that a table needs without tearing a word, or a value that must not be wrapped."""

    def width(text: object, *, whole: bool) -> int:
        return max((len(word) for word in ([str(text)] if whole else str(text).split())), default=0)

    columns = (
        max(width(value, whole=bool(column.no_wrap)) for value in (column.header, *column.cells))
        for column in rows.columns
    )
    return sum(columns) + 2 * len(rows.columns)


def _print_as_list(rows: Table, columns: int) -> None:
    names = [str(column.header) for column in rows.columns]
    margin = max(map(len, names)) + 2
    for values in zip(*(column.cells for column in rows.columns), strict=True):
        click.echo()
        for name, value in zip(names, values, strict=True):
            lines = textwrap.wrap(str(value), max(20, columns - margin), break_long_words=False, break_on_hyphens=False)
            for number, line in enumerate(lines or [""]):
                click.echo(f"{'' if number else name:<{margin}}{line}".rstrip())
    click.echo()


def say(text: str, *, error: bool = False, **style: Any) -> None:  # click's styles
    """Print a line of ours that may hold foreign words; colour reaches terminals only."""
    click.secho(visible(text), err=error, reset=bool(style), **style)


def strategy_text(strategy: Mapping[str, Any]) -> str:
    """A strategy in a table: `carrier_service X`, `default_rules`, or a filter as TOML."""
    return " ".join(name if value is True else f"{name} {_toml(value)}" for name, value in strategy.items())


def _toml(value: Any) -> str:
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case list():
            return "[" + ", ".join(json.dumps(each) for each in value) + "]"
        case dict():
            parts = (
                f"{name} = {json.dumps(each) if isinstance(each, str) else _toml(each)}" for name, each in value.items()
            )
            return "{ " + ", ".join(parts) + " }"
        case _:
            return str(value)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a JSON document; everything beyond ASCII is escaped in it."""
    click.echo(json.dumps(value, indent=indent))


def clock(seconds: float) -> str:
    """A time in UTC, to the second: `2026-11-21 10:03:07Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
