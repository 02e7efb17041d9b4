"""Shipments in every state, moments and outcomes for the tests."""

from typing import Any

from hypothesis import strategies as st

from config.merchants import Retry
from config.strategies.carrier_service import CarrierService
from config.strategies.catalogue import AnyStrategy
from config.strategies.service_group import ServiceGroup
from config.strategies.virtual_service import VirtualService
from tasks.move import Moment
from tasks.outcome import (
    Allocated,
    Carrier,
    Finding,
    NotSent,
    NotYet,
    Outcome,
    Queued,
    Refused,
    Stopped,
    Throttled,
    Unallocated,
    Unknown,
)
from tasks.shipment import Progress, Shipment

NOW = 1_795_000_000.0
HOUR_S = 3600.0

VIRTUAL: AnyStrategy = VirtualService(virtual_service="V")
SERVICE: AnyStrategy = CarrierService(carrier_service="S")
GROUP: AnyStrategy = ServiceGroup(service_group="G")

CARRIER = Carrier(reference="FF", name="Fast Freight", service_reference="FF-1", service_name="Fast")
ALLOCATED = Allocated(carrier=CARRIER)
QUEUED = Queued(reason="queued")
NOT_YET = NotYet(reason="processing")
REFUSED = Refused(reason="allocation_failed", message="nobody would")
UNSURE = Refused(reason="refused", message="no", certain=False)
CONFLICT = Refused(reason="conflict")
THROTTLED = Throttled(reason="throttled")
NOT_SENT = NotSent(reason="not_sent")
UNKNOWN = Unknown(reason="server_error")
NOT_FOUND = Stopped(reason="shipment_not_found", message="no such shipment")
GONE = Stopped(reason="shipment_gone", message="it was removed")
NO_ACCESS = Stopped(reason="unauthorised", message="the key does not work")
INVALID = Stopped(reason="invalid_request", message="weight is missing")
WRONG_STATE = Stopped(reason="wrong_state", message="cancelled")
UNALLOCATED = Unallocated()
CAME_TO_NOTHING = Unallocated(state="allocation_failed")

OUTCOMES: tuple[Outcome, ...] = (
    *(ALLOCATED, QUEUED, NOT_YET, REFUSED, UNSURE, CONFLICT, THROTTLED, NOT_SENT, UNKNOWN),
    *(NOT_FOUND, GONE, NO_ACCESS, INVALID, WRONG_STATE),
)
FINDINGS: tuple[Finding, ...] = (*OUTCOMES, UNALLOCATED, CAME_TO_NOTHING)
RANDOM = st.floats(0, 1, exclude_max=True)


def shipment(*steps: AnyStrategy, age_s: float = 0.0, losses: int = 0, **progress: Any) -> Shipment:
    """A shipment that came in `age_s` ago, with these steps (or one) and this progress."""
    return Shipment(
        merchant="acme",
        reference="sp_1",
        order="1001",
        order_event="evt-1",
        api="shipments-v2",
        rule="default",
        steps=steps or (SERVICE,),
        received=NOW - age_s,
        published=NOW - age_s,
        progress=Progress(**progress),
        losses=losses,
    )


def moment(tries: int = 1, random: float = 0.5, now: float = NOW, **retry: Any) -> Moment:
    """A moment of decision; `retry` as in a merchant file."""
    return Moment(now=now, random=random, tries=tries, retry=Retry(**retry))
