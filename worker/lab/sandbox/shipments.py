"""The shipments of the simulated API and what was done to them. Time is an argument (Unix seconds); no I/O."""

import re
from collections.abc import Iterable, Sequence
from itertools import count

from worker.lab.sandbox.catalogue import Facts, Service, eligible
from worker.lab.sandbox.effect import Effect
from worker.lab.sandbox.http_types import ApiError
from worker.lab.sandbox.log import Log
from worker.lab.sandbox.options import Options
from worker.lab.sandbox.orders import KnownOrders
from worker.lab.sandbox.pending import PendingAction, PendingActions
from worker.lab.sandbox.state import (
    IN_HAND,
    MAY_BE_ALLOCATED,
    PROCESSING,
    QUOTE_EXPIRED,
    QUOTE_NOT_FOUND,
    SHIPMENT_NOT_FOUND,
    UNDECIDED,
    WRONG_STATE,
    Acted,
    Allocation,
    ReceivedCall,
    SimulatedShipment,
)

_DEFAULTS = Facts()
_REFERENCE = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""The characters of a reference; none needs escaping in a body or a link."""


class Depot:
    """All shipments, with the log and the counters that tests compare results with."""

    def __init__(self, options: Options, orders: KnownOrders) -> None:
        """Start empty; `orders` state the facts of shipments that calls name first."""
        self._options = options
        self._orders = orders
        self._serial = count(1)
        self.pending_actions = PendingActions()
        self.log = Log()
        self.shipments: dict[tuple[str, str], SimulatedShipment] = {}
        self.puts = 0
        self.reads = 0

    def serial(self) -> int:
        """The next number, for references and correlation ids; it never repeats in one sandbox."""
        return next(self._serial)

    def describe(self, shipment: SimulatedShipment) -> None:
        """Set facts, state and service from this shipment; an existing one keeps its counts and its history."""
        known = self.shipments.setdefault((shipment.key, shipment.reference), shipment)
        known.facts, known.exists_at = shipment.facts, shipment.exists_at
        known.state, known.allocation = shipment.state, shipment.allocation
        known.described += 1

    def known(self, key: str, reference: str, now: float) -> SimulatedShipment | None:
        """The shipment, created when it is first named; it may not exist yet for callers."""
        shipment = self.shipments.get((key, reference))
        facts = self._facts(reference) if shipment is None else None
        if facts is not None:
            shipment = SimulatedShipment(key=key, reference=reference, created=now, facts=facts)
            self.shipments[key, reference] = shipment
        return shipment

    def _facts(self, reference: str) -> Facts | None:
        """The facts of a shipment that is to be created; None if it is not."""
        if self._options.auto_create and _REFERENCE.fullmatch(reference):
            return self._orders.facts(reference) or _DEFAULTS
        return self._orders.facts(reference)

    def has_facts(self, key: str, reference: str) -> bool:
        """Whether the facts of a shipment are decided: it exists, or a known order states them."""
        return (key, reference) in self.shipments or self._orders.facts(reference) is not None

    def find(self, key: str, reference: str, now: float) -> SimulatedShipment | ApiError:
        """The shipment as a caller sees it."""
        shipment = self.known(key, reference, now)
        if shipment is None:
            return SHIPMENT_NOT_FOUND
        return shipment if shipment.exists_at <= now else PROCESSING

    def gate(self, key: str, reference: str, now: float) -> SimulatedShipment | ApiError:
        """The shipment, if its state lets it be allocated: the API's only guard against a second allocation."""
        found = self.find(key, reference, now)
        if isinstance(found, ApiError) or found.state in MAY_BE_ALLOCATED:
            return found
        return WRONG_STATE

    def allocate(self, shipment: SimulatedShipment, services: Sequence[Service], now: float) -> Allocation | None:
        """Allocate the shipment to the cheapest service that takes it; None (and the failed state) if none does.

        The state is not asked: a shipment that is allocated is allocated once more, or keeps what it has.
        """
        takers = eligible(services, shipment.facts)
        if not takers:
            if shipment.state in UNDECIDED:
                shipment.state = "allocation_failed"
            return None
        shipment.state = "allocated"
        shipment.allocations += 1
        shipment.allocation = Allocation(service=takers[0], at=now, tracking=f"TRK{self.serial():08d}")
        return shipment.allocation

    def accept(self, shipment: SimulatedShipment, services: tuple[Service, ...], now: float, effect: Effect) -> None:
        """Queue an allocatable shipment, to be allocated later or never."""
        match effect.kind:
            case "late":
                self._hide(now + effect.delay_s, PendingAction(shipment=shipment, services=services, hidden=True))
            case "queued":
                self._queue(shipment, services, now, effect)
            case "stuck":
                shipment.state = "allocating"
            case _:
                pass

    def _queue(self, shipment: SimulatedShipment, services: tuple[Service, ...], now: float, effect: Effect) -> None:
        queue_s = self._options.queue_s if effect.queue_s is None else effect.queue_s
        if effect.delay_s:
            action = PendingAction(shipment=shipment, services=services, hidden=True, queue_s=queue_s)
            self._hide(now + effect.delay_s, action)
        else:
            shipment.state = "allocating"
            action = PendingAction(shipment=shipment, services=services, described=shipment.described)
            self.pending_actions.add(now + queue_s, action)

    def _hide(self, due: float, action: PendingAction) -> None:
        action.shipment.pending += 1
        self.pending_actions.add(due, action)

    def settle(self, now: float) -> None:
        """Carry out every due action, as of its due time."""
        for at, action in self.pending_actions.due(now):
            self._do(action, at)

    def _do(self, action: PendingAction, at: float) -> None:
        shipment, before = action.shipment, action.shipment.state
        if action.queue_s is not None:
            if before in MAY_BE_ALLOCATED:
                shipment.state = "allocating"
            self.pending_actions.add(
                at + action.queue_s, PendingAction(shipment=shipment, services=action.services, hidden=True)
            )
        elif action.hidden:
            shipment.pending -= 1
            self.allocate(shipment, action.services, at)
            acted = Acted(at=at, key=shipment.key, reference=shipment.reference, before=before, after=shipment.state)
            self.log.add(acted)
        elif action.described == shipment.described:
            self.allocate(shipment, action.services, at)

    def quote(
        self, shipment: SimulatedShipment, services: Sequence[Service], now: float
    ) -> dict[str, tuple[Service, float]]:
        """New quotes for the shipment (service and expiry by quote reference); those of an earlier call are void."""
        expires = now + self._options.quote_s
        takers = eligible(services, shipment.facts)
        shipment.quotes = {f"qu_{self.serial():032d}": (service, expires) for service in takers}
        return shipment.quotes

    def quoted(self, key: str, reference: str, quote: str, now: float) -> tuple[Service, ...] | ApiError:
        """The one service that a quote of this shipment names."""
        shipment = self.shipments.get((key, reference))
        if shipment is None or quote not in shipment.quotes:
            return QUOTE_NOT_FOUND
        service, expires = shipment.quotes[quote]
        return (service,) if now < expires else QUOTE_EXPIRED

    def note(self, call: ReceivedCall) -> None:
        """Write a call to the log and to the history of each of its shipments, with the state."""
        self.log.add(call)
        shipments = [self.known(call.key, reference, call.at) for reference in call.references]
        call.before = tuple([None if shipment is None else shipment.state for shipment in shipments])
        for shipment in shipments:
            if shipment is not None:
                shipment.calls.append(call)

    def count_repeats(self, key: str, references: Iterable[str]) -> None:
        """Count an allocation call for each shipment that is allocated, allocating, or awaits a late action."""
        for reference in references:
            shipment = self.shipments.get((key, reference))
            if shipment is not None and (shipment.pending or shipment.state in IN_HAND):
                shipment.blind_repeats += 1
