"""Parses an order-created event: bytes in, an order or a rejection out."""

import re
from base64 import b64decode
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import ErrorDetails, from_json, to_json

from config.strategies.strategy import NO_PATH_STEP

MAX_EVENT_BYTES = 1024 * 1024
KEPT_OF_TOO_LARGE_BYTES = 64 * 1024
MAX_CHARACTERS = 256
"""Of any text of an event that is stored."""

MAX_DIGITS = 64
MAX_SHIPMENTS = 1000
MAX_TAGS = 32
ORDER_CREATED = "order.created"

RejectReason = Literal["bad_json", "bad_envelope", "bad_order", "event_too_large", "unknown_merchant"]

Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CHARACTERS)]
Amount = Annotated[Decimal, Field(ge=0, allow_inf_nan=False, max_digits=MAX_DIGITS)]


_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_LEAP_SECOND = re.compile(r"(?<=:59:)60")


def _calendar_time(value: object) -> object:
    """RFC 3339 text only: a number, also one in quotes, would pass for seconds since the epoch.

    A leap second counts as the second before it.
    """
    if not isinstance(value, str) or not _DATE.match(value):
        raise ValueError("a timestamp is text such as 2026-11-23T17:00:00Z")
    return _LEAP_SECOND.sub("59", value)


Timestamp = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_calendar_time)]


Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$"), *NO_PATH_STEP]


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, use_attribute_docstrings=True)


class Value(_Read):
    """What the goods are worth: decimal text and a currency."""

    amount: Amount | None = None
    """A decimal number, best as text: it is never read as a float."""
    currency: Text | None = None
    """Its currency."""


class Destination(_Read):
    """The destination, as far as rules use it."""

    country: Text | None = None
    """The country, as rules write it."""
    postcode: Text | None = None
    """The postcode; rules may match its beginning."""


class OrderShipment(_Read):
    """One thing to allocate; weight in kilograms."""

    reference: Reference
    """The vendor's reference of the shipment (v2) or consignment (v1)."""
    weight_kg: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """The weight in kilograms; used by rules."""
    value: Value | None = None
    """What the goods are worth."""
    destination: Destination | None = None
    """Where the shipment goes."""
    tags: Annotated[tuple[Text, ...], Field(fail_fast=True, max_length=MAX_TAGS)] | None = None
    """Tags; used by rules."""


class OrderData(_Read):
    """The `data` of an order-created event."""

    merchant: Text
    """The name of the merchant, which is that of its file."""
    order: Text
    """The order's number."""
    # Only the first invalid one is reported: a list of all can be far larger than the event.
    shipments: Annotated[tuple[OrderShipment, ...], Field(fail_fast=True, min_length=1, max_length=MAX_SHIPMENTS)]
    """The shipments; each is allocated separately."""
    shipping_method: Text | None = None
    """The customer's choice; used by rules."""
    deliver_by: Timestamp | None = None
    """The latest delivery time, as RFC 3339 text with an offset."""


class Envelope(_Read):
    """The CloudEvents attributes that every event must carry, and those that are typed when present."""

    specversion: Literal["1.0"]
    """The version of CloudEvents."""
    id: Text
    """Identifies the event, together with its source."""
    source: Text
    """Who published the event."""
    type: Text
    """The type of the event."""
    time: Timestamp | None = None
    """When it happened, as RFC 3339 text with an offset."""
    datacontenttype: Text | None = None
    """The media type of the data: JSON."""
    subject: Text | None = None
    """The subject of the event, chosen by the publisher."""


def _not_beside_data(_: object) -> None:
    raise ValueError("an event has either data or data_base64")


class OrderEvent(Envelope):
    """A whole order-created event."""

    type: Literal["order.created"]
    """The type of the event."""
    data: OrderData
    """The content of the event."""
    data_base64: Annotated[None, BeforeValidator(_not_beside_data), Field(exclude=True)] = None
    """Replaces `data`: JSON text in base64, as libraries write it for bytes."""


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
