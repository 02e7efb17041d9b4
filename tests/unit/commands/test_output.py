"""Command output is harmless, whatever an event or an API contains."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.commands.output import _plain_lines, cell, console, table
from worker.observability.text import count, duration, visible


@given(st.text())
def test_only_printable_characters_are_printed(text: str) -> None:
    """For any text, the output contains printable characters only, and those unchanged."""
    assert visible(text).isprintable()
    assert visible(visible(text)) == visible(text)


def test_control_characters_are_escaped() -> None:
    """Escape sequences, line ends and direction marks are visible and have no effect."""
    assert visible("a\x1b[31mb\nc\u202ed\x9be é") == r"a\x1b[31mb\nc\u202ed\x9be é"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (42.9, "42 s"), (60, "1 min"), (185, "3 min 5 s"), (7500, "2 h 5 min"), (90000, "1 d 1 h")],
)
def test_durations_have_two_units_at_most(seconds: float, words: str) -> None:
    """A duration is printed in its two largest units."""
    assert duration(seconds) == words


def test_one_is_singular() -> None:
    """One shipment, two shipments."""
    assert (count(1, "shipment"), count(0, "shipment")) == ("1 shipment", "0 shipments")


@given(st.lists(st.tuples(*[st.text() | st.integers() | st.none()] * 3)))
def test_plain_tables_are_those_of_rich(rows: list[tuple[str | int | None, ...]]) -> None:
    """For any text, numbers and missing values, the lines are what rich prints, but for its margins."""
    found = table("#number", "name", "~why")
    for row in rows:
        found.add_row(*map(cell, row))
    out = console()
    with out.capture() as captured:
        out.print(found)
    lines = _plain_lines(found, "─")
    assert _without_margins(lines) == _without_margins(captured.get().splitlines())


def _without_margins(lines: Sequence[str]) -> str:
    return "\n".join(line.rstrip() for line in lines).strip("\n")
