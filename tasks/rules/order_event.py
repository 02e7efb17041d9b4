"""The order-created event as it comes in: model, bounds and descriptions."""

import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from config.strategies.strategy import NO_PATH_STEP

MAX_CHARACTERS = 256
"""Of any text of an event that is stored."""

MAX_DIGITS = 64
MAX_SHIPMENTS = 1000
MAX_TAGS = 32
ORDER_CREATED = "order.created"

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
    """The publisher of the event."""
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
