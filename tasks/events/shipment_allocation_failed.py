"""`shipment.allocation_failed`: the event of a shipment that will not be allocated."""

from collections.abc import Sequence
from typing import Any, Literal

from config.strategies.catalogue import AnyStrategy
from tasks.events.envelope import Envelope, EventTime, Payload, ShipmentData, event_text, shipment_data
from tasks.rules.decision import FailReason
from tasks.rules.shipment import Shipment, iso

FAILED = "shipment.allocation_failed"


class Attempt(Payload):
    """One call for one step of the plan."""

    strategy: AnyStrategy
    """The strategy of the call."""
    outcome: str
    """The outcome of the call."""
    reason: str | None
    """Why, as a code."""
    correlation_id: str | None
    """The API's own id of the call, for its support."""


class FailedData(ShipmentData):
    """A shipment that will not be allocated, and every kept attempt."""

    reason: FailReason
    """Why the shipment will not be allocated."""
    message: str
    """The same for a person, with the API's own words."""
    steps: list[Attempt]
    """The recorded attempts with their outcomes, oldest first."""
    failed_at: EventTime
    """When it failed, as RFC 3339 text."""


class ShipmentAllocationFailed(Envelope):
    """Published when a shipment fails; its id ends with the number of earlier replays."""

    type: Literal["shipment.allocation_failed"]
    """The type of the event."""
    data: FailedData
    """The content of the event."""


def failed_event(
    shipment: Shipment,
    reason: FailReason,
    message: str,
    steps: Sequence[dict[str, Any]],
    *,
    replay: int,
    now: float,
) -> str:
    """The event of a shipment that will not be allocated. `steps`: its attempts, oldest first."""
    at = iso(now)
    data = {**shipment_data(shipment), "reason": reason, "message": message, "steps": list(steps), "failed_at": at}
    return event_text(FAILED, f"{shipment.merchant}/{shipment.reference}/failed/{replay}", shipment, data, at)
