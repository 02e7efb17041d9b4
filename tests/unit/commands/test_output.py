"""Command output is harmless, whatever an event or an API contains."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
