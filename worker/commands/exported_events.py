"""The lines of `allocation rejected --export`: written, and read back after they were fixed."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass

import click

from worker.commands.event_files import FoundEvent

_DECODER = json.JSONDecoder()
_WHITE = " \t\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedEvent:
    """An event of an exported line. `stream_id`: the entry of the orders stream that was rejected."""

    stream_id: str
    event: FoundEvent


def exported_line(stream_id: str, event: bytes) -> str:
    """A rejected event as a line: its own JSON text if it is JSON, else a string of it; base64 if it is no UTF-8."""
    try:
        text = event.decode()
    except UnicodeDecodeError:
        return f"{json.dumps({'stream_id': stream_id, 'event_base64': base64.b64encode(event).decode()})}\n"
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        text = json.dumps(text)
    # A line end outside of a string means nothing in JSON, and inside of one there is none.
    one_line = text.replace("\r", " ").replace("\n", " ")
    return f'{{"stream_id": {json.dumps(stream_id)}, "event": {one_line}}}\n'


def split_exported(events: Sequence[FoundEvent]) -> tuple[list[ExportedEvent], list[FoundEvent]]:
    """Exported events and plain ones. Raises ClickException for an entry that occurs twice."""
    exported, plain, lines = list[ExportedEvent](), list[FoundEvent](), dict[str, int]()
    for each in events:
        found = _exported(each)
        if found is None:
            plain.append(each)
            continue
        if found.stream_id in lines:
            first = lines[found.stream_id]
            raise click.ClickException(
                f"{each.file}:{each.line}: stream_id {found.stream_id} is also that of line {first}; remove one"
            )
        lines[found.stream_id] = each.line
        exported.append(found)
    return exported, plain


def _exported(line: FoundEvent) -> ExportedEvent | None:
    """The event of an exported line, whatever the order of its keys; None if it is none."""
    text = line.text.decode(errors="surrogateescape")
    try:
        members = _members(text)
        stream_id = json.loads(members["stream_id"])
        event = _event(members)
    except (ValueError, RecursionError, KeyError):
        return None
    if not isinstance(stream_id, str):
        return None
    return ExportedEvent(stream_id=stream_id, event=FoundEvent(file=line.file, line=line.line, text=event))


def _event(members: dict[str, str]) -> bytes:
    """The text of the event, with its numbers as they are; a string is the text itself.

    Raises ValueError or KeyError.
    """
    if "event" not in members:
        try:
            return base64.b64decode(json.loads(members["event_base64"]), validate=True)
        except (binascii.Error, TypeError) as error:
            raise ValueError("event_base64 is no base64") from error
    text = members["event"]
    if text.startswith('"'):
        # What is no character becomes invalid UTF-8, which is refused later.
        return str(json.loads(text)).encode(errors="surrogatepass")
    return text.encode(errors="surrogateescape")


def _members(text: str) -> dict[str, str]:
    """The values of a JSON object as they are written, by key. Raises ValueError or RecursionError."""
    at, members = _skip(text, 0), dict[str, str]()
    if not text.startswith("{", at):
        raise ValueError("is no object")
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, _skip(text, at + 1))
        at = _skip(text, at)
        if not isinstance(key, str) or not text.startswith(":", at):
            raise ValueError("has no key")
        start = _skip(text, at + 1)
        _, end = _DECODER.raw_decode(text, start)
        members[key], at = text[start:end], _skip(text, end)
        if not text.startswith((",", "}"), at):
            raise ValueError("is not closed")
    return members


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _WHITE:
        at += 1
    return at
