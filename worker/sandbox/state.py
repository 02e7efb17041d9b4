"""The shipments of the simulated API and what was done with them. Time is an argument (Unix seconds); no I/O."""

import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from worker.sandbox.catalogue import Facts, Service, eligible
from worker.sandbox.options import Options
from worker.sandbox.wire import Trouble, caused

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

SHIPMENT_NOT_FOUND = caused(404, "not_found", "shipment_not_found", "The shipment cannot be found.")
PROCESSING = caused(404, "not_found", "processing", "The shipment is still being created.")
WRONG_STATE = caused(
    400, "validation_error", "invalid_state_for_operation", "The state of the shipment does not allow this operation."
)
QUOTE_NOT_FOUND = caused(404, "not_found", "quote_not_found", "The quote cannot be found.")
QUOTE_EXPIRED = caused(400, "validation_error", "quote_expired", "The quote has expired.")

_HISTORY = 50
_REFERENCE = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What a reference is made of; no form of a body or a link needs to escape it."""


@dataclass(kw_only=True, slots=True)
class Call:
    """One call for a shipment; `status` stays None when no answer was sent, `fault` is what went wrong with it."""

    at: float
    method: str
    path: str
    status: int | None = None
    fault: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Allocation:
    """The service that has a shipment, since when, and under which tracking reference."""

    service: Service
    at: float
    tracking: str


@dataclass(kw_only=True, slots=True)
class Shipment:
    """One shipment of one merchant (one API key). It is changed in place: it is what the simulated API remembers."""

    key: str
    reference: str
    created: float
    facts: Facts = Facts()  # noqa: RUF009 - frozen, and shared by all shipments that were not described
    state: State = "unallocated"
    exists_at: float = 0.0
    allocation: Allocation | None = None
    waiting_for: tuple[Service, ...] = ()
    quotes: dict[str, tuple[Service, float]] = field(default_factory=dict)
    allocations: int = 0
    blind_repeats: int = 0
    labels_read: int = 0
    label_read_at: float | None = None
    calls: deque[Call] = field(default_factory=lambda: deque(maxlen=_HISTORY))

    def read_label(self, now: float) -> None:
        """Count that the label was fetched."""
        self.labels_read += 1
        if self.label_read_at is None:
            self.label_read_at = now


class Depot:
    """All shipments, and the counters that make the sandbox an oracle."""

    def __init__(self, options: Options) -> None:
        """Start empty."""
        self._options = options
        self._queue: deque[tuple[float, Shipment]] = deque()
        self._serial = count(1)
        self.shipments: dict[tuple[str, str], Shipment] = {}
        self.puts = 0
        self.reads = 0

    def serial(self) -> int:
        """The next number, for references and correlation ids; it never repeats in one sandbox."""
        return next(self._serial)

    def describe(self, shipment: Shipment) -> None:
        """Take facts, state and service from this shipment; one that is known keeps its counts and its history."""
        known = self.shipments.setdefault((shipment.key, shipment.reference), shipment)
        known.facts, known.exists_at = shipment.facts, shipment.exists_at
        known.state, known.allocation = shipment.state, shipment.allocation

    def known(self, key: str, reference: str, now: float) -> Shipment | None:
        """The shipment, created if it is the first time that it is named; it may still be in the making."""
        shipment = self.shipments.get((key, reference))
        if shipment is None and self._options.auto_create and _REFERENCE.fullmatch(reference):
            shipment = Shipment(key=key, reference=reference, created=now)
            self.shipments[key, reference] = shipment
        return shipment

    def find(self, key: str, reference: str, now: float) -> Shipment | Trouble:
        """The shipment as a caller sees it."""
        shipment = self.known(key, reference, now)
        if shipment is None:
            return SHIPMENT_NOT_FOUND
        return shipment if shipment.exists_at <= now else PROCESSING

    def gate(self, key: str, reference: str, now: float) -> Shipment | Trouble:
        """The shipment, if its state lets it be allocated: the API's only guard against a second allocation."""
        found = self.find(key, reference, now)
        if isinstance(found, Trouble) or found.state in MAY_BE_ALLOCATED:
            return found
        return WRONG_STATE

    def allocate(self, shipment: Shipment, services: Sequence[Service], now: float) -> Allocation | None:
        """Give the shipment to the cheapest service that takes it; None (and the failed state) if none does."""
        takers = eligible(services, shipment.facts)
        if not takers:
            shipment.state = "allocation_failed"
            return None
        shipment.state = "allocated"
        shipment.allocations += 1
        shipment.allocation = Allocation(service=takers[0], at=now, tracking=f"TRK{self.serial():08d}")
        return shipment.allocation

    def queue(self, shipment: Shipment, services: tuple[Service, ...], now: float) -> None:
        """Let the shipment be `allocating` for the queue's time; then it is decided."""
        shipment.state = "allocating"
        shipment.waiting_for = services
        # One delay for all, so the queue is in order of time.
        self._queue.append((now + self._options.queue_s, shipment))

    def settle(self, now: float) -> None:
        """Decide every queued shipment whose time has come, as of that time."""
        while self._queue and self._queue[0][0] <= now:
            due, shipment = self._queue.popleft()
            if shipment.state == "allocating":
                self.allocate(shipment, shipment.waiting_for, due)

    def quote(self, shipment: Shipment, services: Sequence[Service], now: float) -> dict[str, tuple[Service, float]]:
        """New quotes for the shipment (service and expiry by quote reference); those of an earlier call are void."""
        expires = now + self._options.quote_s
        takers = eligible(services, shipment.facts)
        shipment.quotes = {f"qu_{self.serial():032d}": (service, expires) for service in takers}
        return shipment.quotes

    def quoted(self, key: str, reference: str, quote: str, now: float) -> tuple[Service, ...] | Trouble:
        """The one service that a quote of this shipment names."""
        shipment = self.shipments.get((key, reference))
        if shipment is None or quote not in shipment.quotes:
            return QUOTE_NOT_FOUND
        service, expires = shipment.quotes[quote]
        return (service,) if now < expires else QUOTE_EXPIRED

    def note(self, key: str, reference: str, call: Call) -> None:
        """Write a call into the shipment's history, if there is or may be such a shipment."""
        shipment = self.known(key, reference, call.at)
        if shipment is not None:
            shipment.calls.append(call)

    def count_repeats(self, key: str, references: Iterable[str]) -> None:
        """Count an allocate call for each shipment that the API already has in hand."""
        for reference in references:
            shipment = self.shipments.get((key, reference))
            if shipment is not None and shipment.state in IN_HAND:
                shipment.blind_repeats += 1
