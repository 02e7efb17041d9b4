"""What the commands print is harmless, whatever an event or an API said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.observability.text import count, duration, visible


@given(st.text())
def test_no_letter_steers_a_terminal(text: str) -> None:
    """Whatever the text was, what is printed holds printable letters only, and those unchanged."""
    assert visible(text).isprintable()
    assert visible(visible(text)) == visible(text)


def test_control_characters_are_written_out() -> None:
    """Escape sequences, line ends and direction marks can be seen, but do nothing."""
    assert visible("a\x1b[31mb\nc\u202ed\x9be é") == r"a\x1b[31mb\nc\u202ed\x9be é"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (42.9, "42 s"), (60, "1 min"), (185, "3 min 5 s"), (7500, "2 h 5 min"), (90000, "1 d 1 h")],
)
def test_spans_have_two_units_at_the_most(seconds: float, words: str) -> None:
    """A time span is told in the two units that matter."""
    assert duration(seconds) == words


def test_one_is_singular() -> None:
    """One shipment, two shipments."""
    assert (count(1, "shipment"), count(0, "shipment")) == ("1 shipment", "0 shipments")
