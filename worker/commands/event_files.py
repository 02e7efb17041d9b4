"""Files of order-created events, as JSON, an array or JSON Lines; the text of an event is not touched."""

import json
import sys
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.rules.order import IgnoredEvent, Order, Rejection, parse_order

_WHITE = " \t\r\n"
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundEvent:
    """The text of one event, and where it starts."""

    file: str
    line: int
    text: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Wrong:
    """Why an event, or other content in its place, is not published; `error` is a text for a person."""

    file: str
    line: int
    reason: str
    error: str

    def __str__(self) -> str:
        """`orders.json:12: bad_order: data.order: Field required`."""
        return f"{self.file}:{self.line}: {self.reason}: {self.error}"


def read_files(paths: Iterable[Path]) -> Iterator[FoundEvent]:
    """The events of all files, in order; `-` is standard input. Raises OSError."""
    for path in paths:
        if str(path) == "-":
            yield from split(sys.stdin.buffer.read(), "stdin")
        else:
            yield from split(path.read_bytes(), str(path))


def wrong(found: FoundEvent) -> Wrong | None:
    """What intake would find wrong with an event."""
    match parse_order(found.text):
        case Order():
            return None
        case IgnoredEvent(type=other):
            reason, error = "ignored", f"its type is {other!r}, and only order.created is read"
        case Rejection(reason=reason, error=error):
            pass
    return Wrong(file=found.file, line=found.line, reason=reason, error=error)


def split(content: bytes, file: str) -> Iterator[FoundEvent]:
    """The events of one file; what is no JSON is one event too, and found wrong later."""
    # Bytes that are no UTF-8 pass through as they are.
    text = content.removeprefix(BOM_UTF8).decode(errors="surrogateescape")
    line, counted = 1, 0
    for start, end in _spans(text):
        line, counted = line + text.count("\n", counted, start), start
        yield FoundEvent(file=file, line=line, text=text[start:end].encode(errors="surrogateescape"))


def _spans(text: str) -> Iterator[tuple[int, int]]:
    start, end = _skip(text, 0), len(text.rstrip(_WHITE))
    if text.startswith("[", start):
        items = _items(text, start)
        yield from [(start, end)] if items is None else items
        return
    while start < end:
        stop = _end_of_value(text, start) or _end_of_nonsense(text, start, end)
        yield start, stop
        start = _skip(text, stop)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _WHITE:
        at += 1
    return at


def _end_of_value(text: str, start: int) -> int | None:
    try:
        return _DECODER.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return None


def _end_of_nonsense(text: str, start: int, end: int) -> int:
    """Up to the next line that looks like the start of an event."""
    next_event = text.find("\n{", start, end)
    return end if next_event < 0 else start + len(text[start:next_event].rstrip(_WHITE))


def _items(text: str, start: int) -> list[tuple[int, int]] | None:
    """The positions of the items of an array; None when it is not JSON."""
    spans: list[tuple[int, int]] = []
    at = _skip(text, start + 1)
    while text[at : at + 1] != "]":
        end = _end_of_value(text, at)
        if end is None:
            return None
        spans.append((at, end))
        at = _skip(text, end)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] != "]":
            return None
    return spans if _skip(text, at + 1) == len(text) else None
