"""`shipment.allocated`: the one event of an allocated shipment."""

from typing import Annotated, Literal

from pydantic import Field

from config.strategies.catalogue import AnyStrategy
from tasks.events.envelope import Envelope, EventTime, Payload, ShipmentData, event_text, shipment_data
from tasks.rules.outcome import Allocated
from tasks.rules.shipment import Shipment, iso

ALLOCATED = "shipment.allocated"
DecimalText = Annotated[str, Field(description="the API's own decimal text")]


class Carrier(Payload):
    """The carrier service that has the shipment, as far as the API named it."""

    reference: str | None
    """The carrier's reference."""
    name: str | None
    """The carrier's name."""
    service_reference: str | None
    """The service's reference."""
    service_name: str | None
    """The service's name."""


class Price(Payload):
    """What it costs, as the API wrote it."""

    net: DecimalText | None
    """Without tax, in the API's own decimal text."""
    gross: DecimalText | None
    """With tax, in the API's own decimal text."""
    currency: str | None
    """The currency of both."""


class Label(Payload):
    """A link to a label."""

    href: str
    """Where the label is."""
    format: str | None = Field(description="lower case, such as pdf or zpl")


class AllocatedData(ShipmentData):
    """An allocated shipment: carrier service, price and label links."""

    strategy: AnyStrategy | None = Field(description="the step that won; of an adopted shipment the last one attempted")
    fell_back: bool = Field(description="whether an earlier step was refused")
    carrier: Carrier | None
    """The carrier service that has the shipment; null if the API did not name it."""
    price: Price | None
    """The price; null if the API did not state it."""
    tracking_references: list[str]
    """The carrier's references."""
    labels: list[Label]
    """Links to the labels; fetching one needs the merchant's API key."""
    adopted: bool = Field(description="found allocated on read-back, rather than by the response to a call")
    correlation_id: str | None
    """The API's own id of the call, for its support."""
    allocated_at: EventTime
    """When this was known, as RFC 3339 text."""


class ShipmentAllocated(Envelope):
    """Exactly one goes out per allocated shipment; its id follows from merchant and reference."""

    type: Literal["shipment.allocated"]
    """The type of the event."""
    data: AllocatedData
    """The content of the event."""


def allocated_event(shipment: Shipment, allocated: Allocated, *, adopted: bool, now: float) -> str:
    """The one event of an allocated shipment. `now` in seconds since the epoch."""
    carrier, price, at = allocated.carrier, allocated.price, iso(now)
    # What a read-back found was allocated by the last step that was called for, not by one that still waits its turn.
    step = shipment.progress.attempted
    data = {
        **shipment_data(shipment),
        "strategy": None if step is None else shipment.steps[step].table,
        "fell_back": bool(step),
        "carrier": carrier._asdict() if carrier else None,
        "price": price._asdict() if price else None,
        "tracking_references": list(allocated.tracking_references),
        "labels": [label._asdict() for label in allocated.labels],
        "adopted": adopted,
        "correlation_id": allocated.correlation_id,
        "allocated_at": at,
    }
    return event_text(ALLOCATED, f"{shipment.merchant}/{shipment.reference}/allocated", shipment, data, at)
