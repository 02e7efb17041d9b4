"""Shipments whose record this version cannot parse: only read back, and kept for a version that can."""

from dataclasses import dataclass
from typing import Any

from tasks.rules.backoff import PARK_MOST_S
from tasks.rules.decision import Context, Fail, Park, Settle
from tasks.rules.next_decision import may_end, until_deadline
from tasks.rules.outcome import Allocated, Finding, Unallocated
from tasks.rules.progress import Progress
from tasks.rules.shipment import Shipment, from_record


@dataclass(frozen=True, kw_only=True, slots=True)
class UnreadableRecord:
    """A shipment whose record this version cannot parse. `received`: seconds since the epoch, 0 if unknown."""

    merchant: str
    reference: str
    received: float
    error: str


def stand_in(found: UnreadableRecord) -> Shipment:
    """What is known of the shipment; the rest is null in its event, and the record stays as it is."""
    return Shipment(
        merchant=found.merchant,
        reference=found.reference,
        order="",
        order_event="",
        api="",
        rule="",
        steps=(),
        received=found.received,
        published=found.received,
        progress=Progress(is_readable=False),
    )


def after_look(shipment: Shipment, finding: Finding | None, error: str, context: Context) -> Settle | Fail | Park:
    """The decision after a read-back (None: none could be made)."""
    if isinstance(finding, Allocated):
        return Settle(shipment=shipment, allocated=finding, adopted=True)
    if may_end(shipment, context):
        unread = "" if isinstance(finding, Unallocated) else "; it may be allocated and could not be read back"
        message = f"its record cannot be read: {error}{unread}"
        return Fail(shipment=shipment, reason="unreadable_record", message=message)
    return Park(shipment=shipment, wait_s=until_deadline(shipment, context, PARK_MOST_S))


def parse_shipment(merchant: str, reference: str, record: dict[str, Any]) -> Shipment | UnreadableRecord:
    """A record as a value; an unreadable one affects only its own shipment."""
    try:
        shipment = from_record(merchant, reference, record)
        # Its event will name this step.
        _ = shipment.steps[shipment.progress.attempted or 0]
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        return UnreadableRecord(
            merchant=merchant,
            reference=reference,
            received=_seconds(record.get("received")) or _seconds(record.get("earliest_at")),
            error=f"{type(error).__name__}: {error}".partition("\n")[0][:200],
        )
    return shipment


def _seconds(milliseconds: bytes | None) -> float:
    """0 for an invalid time."""
    text = (milliseconds or b"").decode(errors="replace")
    return int(text) / 1000 if text.isdecimal() else 0.0
