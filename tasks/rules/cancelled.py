"""A shipment that a person has cancelled: no further call, only read-backs until its state is known. Pure."""

from config.merchant_files.retry import MAX_QUIET_S
from tasks.rules.decision import Call, Decision, Fail, FallBack, ReadBack
from tasks.rules.shipment import Shipment


def first_read_back(decision: Decision) -> Decision:
    """The decision of a new visit: read back instead of a call, which decides."""
    return ReadBack(shipment=decision.shipment) if isinstance(decision, Call) else decision


def without_call(decision: Decision) -> Decision:
    """A decision that would lead to a call: the shipment is not allocated, so it ends here."""
    if isinstance(decision, Call | FallBack):
        return end(decision.shipment)
    return decision


LONGEST_QUEUE_S = 86_400.0
"""How long a queued call is waited for when the merchant file, which states it, is gone."""


def end_unread(shipment: Shipment, now: float) -> Fail | None:
    """The end of a cancelled shipment that cannot be read back, as its merchant's file is gone.

    None while a call may still take effect, and for a shipment that is not cancelled.
    """
    progress = shipment.progress
    longest_s = LONGEST_QUEUE_S if progress.open_kind == "queued" else MAX_QUIET_S
    if not shipment.cancelled or (progress.open_kind is not None and now - progress.open_at < longest_s):
        return None
    message = f"{shipment.cancelled}; it was not read back, as its merchant has no file"
    return Fail(shipment=shipment, reason="cancelled_by_operator", message=message)


def end(shipment: Shipment) -> Fail:
    """The shipment is not allocated and will not be."""
    return Fail(shipment=shipment, reason="cancelled_by_operator", message=shipment.cancelled)
