"""The values of the simulated API: a shipment, its states, the calls for it. Time is in Unix seconds."""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from worker.lab.sandbox.catalogue import Facts, Service
from worker.lab.sandbox.fault import Kind
from worker.lab.sandbox.faults import NO_FAULTS, CallFaults
from worker.lab.sandbox.http_types import caused

State = Literal[
    "unallocated",
    "allocating",
    "allocated",
    "allocation_failed",
    "manifested",
    "dispatched",
    "delivered",
    "cancelling",
    "cancelled",
    "destroyed",
]
"""The states a shipment may be created in; calls only ever lead to the first four."""

MAY_BE_ALLOCATED = frozenset[State]({"unallocated", "allocation_failed"})
IN_HAND = frozenset[State]({"allocating", "allocated"})
UNDECIDED = MAY_BE_ALLOCATED | {"allocating"}

SHIPMENT_NOT_FOUND = caused(404, "not_found", "shipment_not_found", "The shipment cannot be found.")
PROCESSING = caused(404, "not_found", "processing", "The shipment is still being created.")
WRONG_STATE = caused(
    400, "validation_error", "invalid_state_for_operation", "The state of the shipment does not allow this operation."
)
RULE_CONFLICT = caused(429, "conflict", "rule_conflict", "Two allocation rules contradict each other.")
QUOTE_NOT_FOUND = caused(404, "not_found", "quote_not_found", "The quote cannot be found.")
QUOTE_EXPIRED = caused(400, "validation_error", "quote_expired", "The quote has expired.")

_HISTORY = 50


@dataclass(kw_only=True, slots=True)
class ReceivedCall:
    """One call that arrived. Mutable: status and time of the response stay None until there is one.

    `before` are the states of the shipments at arrival, None for one that does not exist; `struck` is what went wrong.
    """

    at: float
    key: str
    kind: Kind | Literal["other"]
    method: str
    path: str
    references: tuple[str, ...] = ()
    before: tuple[State | None, ...] = ()
    struck: CallFaults = NO_FAULTS
    status: int | None = None
    answered_at: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Acted:
    """The API acted on an earlier call: the shipment's state before and after."""

    at: float
    key: str
    reference: str
    before: State
    after: State


@dataclass(frozen=True, kw_only=True, slots=True)
class Allocation:
    """The service that has a shipment, since when, and under which tracking reference."""

    service: Service
    at: float
    tracking: str


@dataclass(kw_only=True, slots=True)
class SimulatedShipment:
    """One shipment of one merchant (one API key). Mutable: the state of the simulated API.

    `pending` counts pending actions that its state does not show; `described` how often it was set through
    `/_sandbox`.
    """

    key: str
    reference: str
    created: float
    facts: Facts
    state: State = "unallocated"
    exists_at: float = 0.0
    allocation: Allocation | None = None
    quotes: dict[str, tuple[Service, float]] = field(default_factory=dict)
    allocations: int = 0
    blind_repeats: int = 0
    pending: int = 0
    described: int = 0
    labels_read: int = 0
    label_read_at: float | None = None
    calls: deque[ReceivedCall] = field(default_factory=lambda: deque(maxlen=_HISTORY))

    def read_label(self, now: float) -> None:
        """Count that the label was fetched."""
        self.labels_read += 1
        if self.label_read_at is None:
            self.label_read_at = now
