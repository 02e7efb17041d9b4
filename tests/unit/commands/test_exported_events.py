"""Exported events: every rejected event survives the way out and back unchanged, and mistakes in the file are found."""

import json

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.rules.order import Rejection, parse_order
from worker.commands.event_files import FoundEvent, split
from worker.commands.exported_events import exported_line, split_exported


def back(text: str) -> list[tuple[str, bytes]]:
    """The exported events of a file: entry, and text of the event."""
    exported, _ = split_exported([*split(text.encode(errors="surrogateescape"), "fix.jsonl")])
    return [(each.stream_id, each.event.text) for each in exported]


@given(
    st.lists(st.text() | st.dictionaries(st.text(), st.text() | st.integers() | st.floats(allow_nan=False)), max_size=4)
)
def test_events_are_unchanged(events: list[object]) -> None:
    """Whatever an event contains, other than line ends between its values."""
    texts = [
        event.encode(errors="replace") if isinstance(event, str) else json.dumps(event).encode() for event in events
    ]
    lines = "".join(exported_line(f"1-{number}", text) for number, text in enumerate(texts))
    found = back(lines)
    assert [stream_id for stream_id, _ in found] == [f"1-{number}" for number in range(len(texts))]
    for text, (_, event) in zip(texts, found, strict=True):
        assert event == text or json.loads(event) == json.loads(text)


def test_separators_of_unicode_are_kept() -> None:
    """They are no line ends in JSON."""
    event = '{"order": "a\u2028b\u0085c"}'
    assert back(exported_line("1-1", event.encode())) == [("1-1", event.encode())]


def test_what_is_no_text_must_be_fixed() -> None:
    """An event that is not UTF-8 is exported as base64, and rejected again as long as it is not fixed."""
    line = exported_line("1-1", b'{"order": "Bj\xf6rn"}')
    assert set(json.loads(line)) == {"stream_id", "event_base64"}
    ((_, event),) = back(line)
    assert event == b'{"order": "Bj\xf6rn"}'
    assert isinstance(parse_order(event), Rejection)


@pytest.mark.parametrize(
    "line",
    [
        '{"event": {"a": 1.50}, "stream_id": "1-1"}',
        '{"stream_id": "1-1", "note": "fixed", "event": {"a": 1.50}}',
        '\t{ "stream_id" : "1-1" ,"event":\n{"a": 1.50} }',
    ],
)
def test_other_forms(line: str) -> None:
    """The order of keys, further keys and white space do not matter; numbers stay as they are written."""
    assert back(line) == [("1-1", b'{"a": 1.50}')]


@pytest.mark.parametrize(
    "line",
    [
        '{"stream_id": "1-1", "event": {"a": ',
        '{"stream_id": "1-1", "event": }',
        '{"stream_id": "1-1"}',
        '{"stream_id": 5, "event": {}}',
        '{"stream_id": "1-1", "event_base64": "*"}',
        '{"stream_id": "1-1", "event": ' + "[" * 100_000 + "}",
        "[]",
        "nonsense",
    ],
)
def test_mistakes_are_plain_events(line: str) -> None:
    """They are validated like any event, so that the message names file, line and reason."""
    exported, plain = split_exported([FoundEvent(file="fix.jsonl", line=3, text=line.encode())])
    assert (exported, [each.line for each in plain]) == ([], [3])


def test_a_string_that_is_no_text() -> None:
    """A lone surrogate leads to a rejection, not to a traceback."""
    ((_, event),) = back('{"stream_id": "1-1", "event": "\\ud800x"}')
    assert isinstance(parse_order(event), Rejection)


def test_an_entry_that_occurs_twice() -> None:
    """Only one of the lines could be published."""
    with pytest.raises(click.ClickException, match=r"fix.jsonl:2: stream_id 1-1 is also that of line 1"):
        back(2 * '{"stream_id": "1-1", "event": {}}\n')
