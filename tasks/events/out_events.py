"""The shape of everything that goes out, for its JSON Schemas: keys are always there, null is what was not said."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from config.strategies.catalogue import AnyStrategy
from config.strategies.strategy import Flavour
from tasks.rules.decision import FailReason
from tasks.rules.order import RejectReason

EventTime = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
DecimalText = Annotated[str, Field(description="the API's own decimal text")]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Carrier(_Said):
    """The carrier service that has the shipment, as far as the API named it."""

    reference: str | None
    name: str | None
    service_reference: str | None
    service_name: str | None


class Price(_Said):
    """What it costs, as the API wrote it."""

    net: DecimalText | None
    gross: DecimalText | None
    currency: str | None


class Label(_Said):
    """A link to a label."""

    href: str
    format: str | None = Field(description="lower case, such as pdf or zpl")


class Attempt(_Said):
    """One call for one step of the plan."""

    strategy: AnyStrategy
    outcome: str
    reason: str | None
    correlation_id: str | None


class _AboutShipment(_Said):
    merchant: str
    order: str | None = Field(description="null only when the shipment's record could not be read")
    shipment: str = Field(description="the shipment's reference")
    api: Flavour | None
    rule: str | None = Field(description="the rule that chose the plan, or `default`")
    attempts: Annotated[int, Field(ge=0)] | None = Field(description="calls for an allocation")
    order_event: str | None = Field(description="the id of the order-created event")


class AllocatedData(_AboutShipment):
    """An allocated shipment: who has it, at what price, under which label links."""

    strategy: AnyStrategy | None = Field(description="the step that won; of an adopted shipment the last one attempted")
    fell_back: bool = Field(description="whether an earlier step was refused")
    carrier: Carrier | None
    price: Price | None
    tracking_references: list[str]
    labels: list[Label]
    adopted: bool = Field(description="found allocated on read-back, rather than by the answer to a call")
    correlation_id: str | None
    allocated_at: EventTime


class FailedData(_AboutShipment):
    """A shipment that will not be allocated, and every kept attempt."""

    reason: FailReason
    message: str
    steps: list[Attempt]
    failed_at: EventTime


class _Envelope(_Said):
    specversion: Literal["1.0"]
    id: str
    source: Literal["urn:allocation-worker"]
    subject: str = Field(description="the shipment's reference")
    time: EventTime
    datacontenttype: Literal["application/json"]


class ShipmentAllocated(_Envelope):
    """Exactly one goes out per allocated shipment; its id follows from merchant and reference."""

    type: Literal["shipment.allocated"]
    data: AllocatedData


class ShipmentAllocationFailed(_Envelope):
    """Goes out when a shipment fails; its id carries the number of times it was put back before."""

    type: Literal["shipment.allocation_failed"]
    data: FailedData


class OrdersRejected(_Said):
    """The fields of an entry of the rejected stream: an event that could not be taken."""

    event: str = Field(
        description="the original text; of an event that was too large, its first 64 KiB; of an entry without an "
        "event, its fields as JSON"
    )
    event_base64: str | None = Field(None, description="the original bytes, of an event that is not UTF-8")
    reason: RejectReason
    error: str
    stream_id: str = Field(description="the id of the event's entry in the orders stream")
