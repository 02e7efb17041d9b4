"""The events that go out, as CloudEvents 1.0 in JSON text."""

from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from tasks.rules.decision import FailReason
from tasks.rules.outcome import Allocated
from tasks.rules.shipment import Shipment, iso

ALLOCATED = "shipment.allocated"
FAILED = "shipment.allocation_failed"
SOURCE = "urn:allocation-worker"


def allocated_event(shipment: Shipment, allocated: Allocated, *, adopted: bool, now: float) -> str:
    """The one event of an allocated shipment. `now` in seconds since the epoch."""
    carrier, price, at = allocated.carrier, allocated.price, iso(now)
    # What a read-back found was allocated by the last step that was called for, not by one that still waits its turn.
    step = shipment.progress.attempted
    data = {
        **_common(shipment),
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
    return _event(ALLOCATED, f"{shipment.merchant}/{shipment.reference}/allocated", shipment, data, at)


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
    data = {**_common(shipment), "reason": reason, "message": message, "steps": list(steps), "failed_at": at}
    return _event(FAILED, f"{shipment.merchant}/{shipment.reference}/failed/{replay}", shipment, data, at)


def _common(shipment: Shipment) -> dict[str, Any]:
    """What both events say; null is what a record that cannot be read does not tell."""
    return {
        "merchant": shipment.merchant,
        "order": shipment.order or None,
        "shipment": shipment.reference,
        "api": shipment.api or None,
        "rule": shipment.rule or None,
        "attempts": shipment.progress.attempts if shipment.progress.is_readable else None,
        "order_event": shipment.order_event or None,
    }


def _event(kind: str, event_id: str, shipment: Shipment, data: dict[str, Any], at: str) -> str:
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
