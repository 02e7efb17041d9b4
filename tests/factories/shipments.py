"""Shipments, contexts and outcomes for the tests."""

from typing import Any

from hypothesis import strategies as st

from config.merchant_files.retry import Retry
from config.strategies.carrier_service import CarrierService
from config.strategies.catalogue import AnyStrategy
from config.strategies.service_group import ServiceGroup
from config.strategies.virtual_service import VirtualService
from tasks.rules.decision import Context
from tasks.rules.outcome import (
    Allocated,
    BulkRefused,
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
from tasks.rules.progress import Progress
from tasks.rules.shipment import Shipment

NOW = 1_795_000_000.0
HOUR_S = 3600.0
TIMEOUT_S = 20.0
QUIET_S, QUEUE_S = 60.0, 900.0
"""The defaults of a merchant file."""

VIRTUAL: AnyStrategy = VirtualService(virtual_service="V")
SERVICE: AnyStrategy = CarrierService(carrier_service="S")
GROUP: AnyStrategy = ServiceGroup(service_group="G")

CARRIER = Carrier(reference="FF", name="Fast Freight", service_reference="FF-1", service_name="Fast")
ALLOCATED = Allocated(carrier=CARRIER)
QUEUED = Queued(reason="queued")
NOT_YET = NotYet(reason="processing")
REFUSED = Refused(reason="allocation_failed", message="no carrier accepts it")
UNCERTAIN = Refused(reason="refused", message="no", certain=False)
CONFLICT = Refused(reason="conflict")
THROTTLED = Throttled(reason="throttled")
NOT_SENT = NotSent(reason="not_sent")
FOREIGN = NotSent(reason="foreign_response")
UNKNOWN = Unknown(reason="server_error")
INVALID_STATE = Unknown(reason="invalid_state")
NOT_FOUND = Stopped(reason="shipment_not_found", message="no such shipment")
GONE = Stopped(reason="shipment_gone", message="it was removed")
NO_ACCESS = Stopped(reason="unauthorised", message="the key does not work")
FORBIDDEN = Stopped(reason="forbidden", message="not allowed")
INVALID = Stopped(reason="invalid_request", message="weight is missing")
WRONG_STATE = Stopped(reason="wrong_state", message="cancelled")
UNALLOCATED = Unallocated()
ALLOCATION_FAILED = Unallocated(state="allocation_failed")

BULK_REFUSED = BulkRefused(reason="refused_together", message="refused together with other shipments: default_rules")
PARTLY_REFUSED = BulkRefused(reason="refused_together", message="refused together with other shipments", partly=True)

OUTCOMES: tuple[Outcome, ...] = (
    *(ALLOCATED, QUEUED, NOT_YET, REFUSED, UNCERTAIN, CONFLICT, THROTTLED, NOT_SENT, FOREIGN, UNKNOWN, INVALID_STATE),
    *(NOT_FOUND, GONE, NO_ACCESS, FORBIDDEN, INVALID, WRONG_STATE),
)
"""All outcomes of a call for one shipment."""

FINDINGS: tuple[Finding, ...] = (*OUTCOMES, BULK_REFUSED, PARTLY_REFUSED, UNALLOCATED, ALLOCATION_FAILED)
RANDOM = st.floats(0, 1, exclude_max=True)


def shipment(*steps: AnyStrategy, age_s: float = 0.0, losses: int = 0, **progress: Any) -> Shipment:
    """A shipment accepted `age_s` ago, with these steps (or one) and this progress."""
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


def open_call(kind: str = "unknown", ago_s: float = 0.0, **more: Any) -> dict[str, Any]:
    """Progress with an open call that ended so long ago."""
    return {
        "open_kind": kind,
        "open_at": NOW - ago_s,
        "quiet_from": NOW - ago_s,
        "open_calls": 1,
        "attempts": 1,
        "attempted": 0,
        "allocating_since": NOW - ago_s if kind == "queued" else None,
        **more,
    }


def context(
    tries: int = 1,
    random: float = 0.5,
    now: float = NOW,
    sent: float | None = None,
    group_size: int = 1,
    **retry: Any,
) -> Context:
    """The context of a decision about a request sent at `sent`, or now; `retry` as in a merchant file."""
    return Context(
        now=now,
        random=random,
        tries=tries,
        retry=Retry(**retry),
        timeout_s=TIMEOUT_S,
        sent=now if sent is None else sent,
        group_size=group_size,
    )
