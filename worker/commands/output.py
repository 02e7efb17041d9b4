"""What commands print: tables, JSON and text, with text from outside escaped."""

import json
import sys
import textwrap
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


_GAP = 3
"""Columns between two columns of a table."""


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
    """Print a table, elsewhere than on a terminal with one line per row.

    A table that does not fit a terminal without tearing words is printed as a list, one value per line.
    """
    out = console()
    if out.is_terminal:
        if _fit(rows, out.width):
            out.print(rows)
        else:
            _print_as_list(rows, out.width)
        return
    lines = _plain_lines(rows, "-" if out.options.ascii_only else "─")
    click.echo("\n".join(line.rstrip() for line in lines))


def _plain_lines(rows: Table, ruler: str) -> list[str]:
    """The lines that rich prints on a wide terminal, in a fraction of its time."""
    columns = [[str(value) for value in (column.header, *column.cells)] for column in rows.columns]
    widths = [max(map(cell_len, values)) for values in columns]
    padded = [
        [_pad(value, width, is_right=column.justify == "right") for value in values]
        for column, values, width in zip(rows.columns, columns, widths, strict=True)
    ]
    head, *rest = (f" {(_GAP * ' ').join(values)}" for values in zip(*padded, strict=True))
    return [head, " " + ruler * (sum(widths) + _GAP * (len(widths) - 1)), *rest]


def _pad(text: str, width: int, *, is_right: bool) -> str:
    text = text.rstrip() if is_right else text
    spaces = " " * (width - cell_len(text))
    return spaces + text if is_right else text + spaces


def _fit(rows: Table, columns: int) -> bool:
    """Choose the widths so that no word is torn, and the rest is shared by need; False if that does not fit.

    Left to itself, rich narrows a column below its longest word although others could be folded.
    """
    texts = [[str(value) for value in (column.header, *column.cells)] for column in rows.columns]
    whole = [max(map(len, each)) for each in texts]
    least = [
        width if column.no_wrap else max(len(word) for text in each for word in text.split() or [""])
        for column, each, width in zip(rows.columns, texts, whole, strict=True)
    ]
    spare, missing = columns - sum(least) - _GAP * len(least), sum(whole) - sum(least)
    if spare < 0:
        return False
    for column, narrow, wide in zip(rows.columns, least, whole, strict=True):
        column.width = wide if missing <= spare else narrow + spare * (wide - narrow) // missing
    return True


def _print_as_list(rows: Table, columns: int) -> None:
    names = [str(column.header) for column in rows.columns]
    margin = max(map(len, names)) + 2
    for values in zip(*(column.cells for column in rows.columns), strict=True):
        click.echo()
        for name, value in zip(names, values, strict=True):
            lines = _wrap(str(value), max(20, columns - margin))
            for number, line in enumerate(lines or [""]):
                click.echo(f"{'' if number else name:<{margin}}{line}".rstrip())
    click.echo()


def _wrap(text: str, columns: int, hang: int = 0) -> list[str]:
    """Wrap text between words at this number of columns; lines after the first are indented by `hang`."""
    indent = " " * hang
    return textwrap.wrap(text, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def say(text: str, *, error: bool = False, hang: int = 2, **style: Any) -> None:  # click's styles
    """Print a line of ours that may hold foreign words; colour reaches terminals only.

    On a terminal it is wrapped between words, further lines being indented by `hang`.
    """
    out = console(sys.stderr if error else sys.stdout)
    lines = [visible(text)]
    if out.is_terminal and len(lines[0]) > out.width:
        lines = _wrap(lines[0], out.width, hang)
    for line in lines:
        click.secho(line, err=error, reset=bool(style), **style)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a JSON document; everything beyond ASCII is escaped in it."""
    click.echo(json.dumps(value, indent=indent))
