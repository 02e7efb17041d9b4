"""What a shipment's state means for its allocation."""

from collections.abc import Callable
from typing import Literal, assert_never

from tasks.rules.outcome import Allocated, Finding, Queued, Stopped, Unallocated, Unknown
from worker.carrier_api.fields import message, text

AllocationState = Literal["unallocated", "allocation_failed", "allocating", "allocated", "withdrawn"]
"""`allocated`: that state or a later one; `withdrawn`: being cancelled, cancelled or destroyed."""

_STANDINGS: dict[str, AllocationState] = {
    "unallocated": "unallocated",
    "allocationfailed": "allocation_failed",
    "allocating": "allocating",
    "cancelling": "withdrawn",
    "cancelled": "withdrawn",
    "destroyed": "withdrawn",
}

# v2: the enumeration ShipmentState of its OpenAPI document.
_AFTER_ALLOCATION_V2 = """
    allocated manifesting manifest_failed manifested booking booking_failed booked dispatched at_drop_off_point
    in_transit delayed out_for_delivery delivery_failed delivery_failed_card_left delivered partially_delivered
    at_collection_point returned_to_sender action_required missing lost damaged in_transit_waiting held_by_carrier
    exchange_failed at_customs delivered_damaged carrier_collected customer_collected carrier_collection_failed
    customer_collection_failed at_customer_collection_point ready_to_ship exchange_succeeded awaiting_drop_off
    carrier_changed cleared_customs
"""
# v1: further states of its help page "Consignment States".
_AFTER_ALLOCATION_V1 = "collected collection_failed carrier_unable_to_collect return_to_sender"


def _letters(word: str) -> str:
    """The word without case and separators: "Allocation Failed", "AllocationFailed", "In Transit - Waiting"."""
    return word.lower().replace("_", "").replace(" ", "").replace("-", "")


for _word in (_AFTER_ALLOCATION_V2 + _AFTER_ALLOCATION_V1).split():
    _STANDINGS[_letters(_word)] = "allocated"


def allocation_state(state: object) -> AllocationState | None:
    """What a state means, in any spelling; None for an unknown word."""
    return _STANDINGS.get(_letters(state)) if isinstance(state, str) else None


def withdrawn(state: object) -> Stopped:
    """The outcome for a shipment that is or will be cancelled or destroyed."""
    return Stopped(reason="wrong_state", message=message(f"state {text(state)}"))


def unclear(state: object) -> Unknown:
    """The outcome for a missing or unknown state."""
    if state is None:
        return Unknown(reason="unreadable_response", message="the response names no state")
    return Unknown(reason=allocation_state(state) or "unknown_state", message=message(f"state {text(state)}"))


def finding(state: object, allocated: Callable[[], Allocated]) -> Finding:
    """The finding for this state; `allocated` builds the allocation if there is one."""
    found = allocation_state(state)
    match found:
        case "allocated":
            return allocated()
        case "allocating":
            return Queued(reason=found)
        case "unallocated" | "allocation_failed":
            return Unallocated(reason=found, state=found)
        case "withdrawn":
            return withdrawn(state)
        case None:
            return unclear(state)
        case _:
            assert_never(found)
