"""Event files: how events are separated, and their line numbers."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.commands.cli_harness import order
from worker.commands.event_files import split, wrong

EVENTS = st.lists(
    st.dictionaries(st.text(max_size=5), st.one_of(st.text(), st.integers(), st.none()), max_size=3), max_size=5
)
FORMS = {
    "lines": lambda events: "\n".join(json.dumps(event, ensure_ascii=False) for event in events),
    "array": lambda events: json.dumps(events, ensure_ascii=False),
    "indented array": lambda events: json.dumps(events, indent=1),
    "indented one after the other": lambda events: "\r\n".join(json.dumps(event, indent=1) for event in events),
}


@pytest.mark.parametrize("form", FORMS)
@given(events=EVENTS)
def test_every_form_contains_the_same_events(form: str, events: list[dict[str, Any]]) -> None:
    """In every file format, each event is found, in order."""
    # A lone surrogate is not UTF-8.
    content = FORMS[form](events).encode(errors="replace")
    expected = json.loads(json.dumps(events, ensure_ascii=False).encode(errors="replace"))
    assert [json.loads(found.text) for found in split(content, "f")] == expected


@given(st.binary())
def test_no_bytes_are_lost(content: bytes) -> None:
    """All bytes are returned unchanged, except white space between events."""
    found = b"".join(event.text for event in split(content, "f"))
    white = b" \t\r\n"
    if not content.strip(white).startswith(b"["):
        assert found.translate(None, white) == content.removeprefix(b"\xef\xbb\xbf").translate(None, white)


def test_the_text_is_unchanged() -> None:
    """Spaces, key order, line ends within strings and the digits of a number are kept."""
    text = '{ "b":1.50,  "a":"\u2028" }'
    assert [event.text.decode() for event in split(f"[\n {text},\n{text} ]".encode(), "f")] == [text, text]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_files_with_a_byte_order_mark(mark: bytes) -> None:
    """A byte order mark is no part of an event, also when two marked files were concatenated."""
    one = json.dumps(order("a")).encode()
    found = list(split(mark + one + b"\n" + mark + one + b"\n", "f"))
    assert [(event.line, wrong(event)) for event in found] == [(1, None), (2, None)]


def test_each_event_has_its_line() -> None:
    """A problem is reported at the line where its event begins."""
    content = b'\n{"a": 1}\n\n{"b":\n2}\n{"c": 3}\n'
    assert [event.line for event in split(content, "f")] == [2, 4, 6]


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        pytest.param(b'{"a": 1}\n{"b": }\n{"c": 3}', [b'{"a": 1}', b'{"b": }', b'{"c": 3}'], id="a line among lines"),
        pytest.param(b'{\n  "a": \n}\n', [b'{\n  "a": \n}'], id="an event over many lines"),
        pytest.param(b'[{"a": 1}, {]', [b'[{"a": 1}, {]'], id="an array"),
        pytest.param(b"[" * 100_000, [b"[" * 100_000], id="an array too deep"),
        pytest.param(b"{} }", [b"{}", b"}"], id="the rest of a line"),
        pytest.param(b" \n[ ]", [], id="nothing"),
    ],
)
def test_invalid_json_is_one_event(content: bytes, texts: list[bytes]) -> None:
    """Text that is not JSON is one event, so that it can be reported and, if forced, published."""
    assert [event.text for event in split(content, "f")] == texts


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (b"{", "bad_json"),
        (json.dumps(order("a b")).encode(), "bad_order"),
        (json.dumps(order("a", specversion="2")).encode(), "bad_envelope"),
        (json.dumps(order("a", type="order.paid")).encode(), "ignored"),
        (json.dumps(order("a", comment="x" * 1024 * 1024)).encode(), "event_too_large"),
        (json.dumps(order("a")).encode(), None),
    ],
)
def test_problems_match_the_reasons_of_intake(event: bytes, reason: str | None) -> None:
    """The same reasons, before anything is published."""
    (found,) = split(event, "f")
    problem = wrong(found)
    assert (problem and problem.reason) == reason
