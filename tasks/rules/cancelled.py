"""A shipment that a person has cancelled: no further call, only read-backs until its state is known. Pure."""

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


def end(shipment: Shipment) -> Fail:
    """The shipment is not allocated and will not be."""
    return Fail(shipment=shipment, reason="cancelled_by_operator", message=shipment.cancelled)
