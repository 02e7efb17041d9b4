"""What the events about shipments have in common: CloudEvents 1.0, JSON text, all keys always present."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from config.strategies.strategy import Flavour
from tasks.rules.shipment import Shipment

SOURCE = "urn:allocation-worker"

EventTime = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Payload(BaseModel):
    """A part of an event. A key is always present; null if the API or the record does not have the value."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ShipmentData(Payload):
    """The fields that both events share."""

    merchant: str
    """The name of the merchant, which is that of its file."""
    order: str | None = Field(description="null only when the shipment's record could not be read")
    shipment: str = Field(description="the shipment's reference")
    api: Flavour | None
    """The generation of the API that the plan is made for."""
    merchant_file: str | None = Field(description="the digest of the merchant file that chose the plan")
    rule: str | None = Field(description="the rule that chose the plan, or `default`")
    attempts: Annotated[int, Field(ge=0)] | None = Field(description="calls for an allocation")
    order_event: str | None = Field(description="the id of the order-created event")


class Envelope(Payload):
    """The CloudEvents attributes."""

    specversion: Literal["1.0"]
    """The version of CloudEvents."""
    id: str
    """Derived from merchant and shipment: the same for the same event, so that duplicates show."""
    source: Literal["urn:allocation-worker"]
    """The publisher of the event."""
    subject: str = Field(description="the shipment's reference")
    time: EventTime
    """When it happened, as RFC 3339 text with an offset."""
    datacontenttype: Literal["application/json"]
    """The media type of the data: JSON."""


def shipment_data(shipment: Shipment) -> dict[str, Any]:
    """`ShipmentData` of a shipment; null is what a record that cannot be read does not tell."""
    return {
        "merchant": shipment.merchant,
        "order": shipment.order or None,
        "shipment": shipment.reference,
        "api": shipment.api or None,
        "merchant_file": shipment.merchant_file,
        "rule": shipment.rule or None,
        "attempts": shipment.progress.attempts if shipment.progress.is_readable else None,
        "order_event": shipment.order_event or None,
    }


def event_text(kind: str, event_id: str, shipment: Shipment, data: dict[str, Any], at: str) -> str:
    """The whole event as JSON text. Built field by field: validating it would cost more than all the rest."""
    envelope = {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": kind,
        "subject": shipment.reference,
        "time": at,
        "datacontenttype": "application/json",
        "data": data,
    }
    return to_json(envelope).decode()
