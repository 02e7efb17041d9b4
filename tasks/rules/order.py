"""Parses an order-created event: bytes in, an order or a rejection out."""

from base64 import b64decode
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from pydantic import (
    TypeAdapter,
    ValidationError,
)
from pydantic_core import ErrorDetails, from_json, to_json

from tasks.rules.order_event import ORDER_CREATED, Envelope, OrderData, OrderEvent

MAX_EVENT_BYTES = 1024 * 1024
KEPT_OF_TOO_LARGE_BYTES = 64 * 1024

RejectReason = Literal["bad_json", "bad_envelope", "bad_order", "event_too_large", "unknown_merchant"]


class Order(NamedTuple):
    """A valid order event. `published` is the event's own time, if it states one."""

    event_id: str
    published: datetime | None
    data: OrderData


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """A rejected event; `error` says where and why."""

    reason: RejectReason
    error: str


@dataclass(frozen=True, kw_only=True, slots=True)
class IgnoredEvent:
    """An event of another type: acknowledged and counted, otherwise ignored."""

    type: str


_EVENT = TypeAdapter(OrderEvent)


def parse_order(event: bytes) -> Order | Rejection | IgnoredEvent:
    """Parse one event of the orders stream; never raises."""
    if len(event) > MAX_EVENT_BYTES:
        return Rejection(reason="event_too_large", error=f"an event has at most {MAX_EVENT_BYTES} bytes")
    event = event.removeprefix(BOM_UTF8)
    try:
        read = _EVENT.validate_json(event)
    except ValidationError as error:
        return _with_decoded_data(event) or _not_read(event, error)
    return Order(event_id=read.id, published=read.time, data=read.data)


def _with_decoded_data(event: bytes) -> Order | Rejection | IgnoredEvent | None:
    """The event with its `data_base64` decoded; None without one."""
    if b'"data_base64"' not in event:
        return None
    try:
        envelope: Any = from_json(event)
    except ValueError:
        return None
    if not isinstance(envelope, dict) or "data" in envelope or envelope.get("type") != ORDER_CREATED:
        return None
    try:
        data = from_json(b64decode(envelope.pop("data_base64"), validate=True).removeprefix(BOM_UTF8))
    except (TypeError, ValueError) as error:
        return Rejection(reason="bad_order", error=f"data_base64: does not hold JSON as base64: {error}")
    return parse_order(to_json({**envelope, "data": data}))


def _not_read(event: bytes, error: ValidationError) -> Rejection | IgnoredEvent:
    """The rejection, by the layer that is invalid: JSON, envelope, or order."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    if problems[0]["type"] == "json_invalid":
        return Rejection(reason="bad_json", error=_in_words(problems))
    of_envelope = [problem for problem in problems if problem["loc"][:1] not in (("data",), ("data_base64",))]
    if not of_envelope:
        return Rejection(reason="bad_order", error=_in_words(problems))
    if any(problem["loc"] == ("type",) and problem["type"] == "literal_error" for problem in of_envelope):
        return _of_another_type(event)
    return Rejection(reason="bad_envelope", error=_in_words(of_envelope))


def _of_another_type(event: bytes) -> Rejection | IgnoredEvent:
    try:
        return IgnoredEvent(type=Envelope.model_validate_json(event).type)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        return Rejection(reason="bad_envelope", error=_in_words(problems))


def _in_words(problems: Sequence[ErrorDetails], most: int = 5) -> str:
    """The first problems as `data.order: Field required`, without the input, which may be personal."""
    # A list with invalid items is also reported as too short, which adds nothing.
    problems = [p for p in problems if p["type"] != "too_short"] or problems
    texts = [f"{'.'.join(map(str, p['loc']))}: {_said(p['msg'])}".removeprefix(": ") for p in problems[:most]]
    more = len(problems) - most
    return "; ".join(texts) + (f"; and {more} more" if more > 0 else "")


def _said(message: str) -> str:
    """Pydantic's message, in terms of JSON."""
    return message.removeprefix("Value error, ").replace("Tuple", "List").replace(" after validation", "")
