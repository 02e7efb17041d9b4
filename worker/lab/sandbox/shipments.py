"""The shipments of the simulated API and what was done with them. Time is an argument (Unix seconds); no I/O."""

import re
from collections.abc import Iterable, Sequence
from itertools import count

from worker.lab.sandbox.catalogue import Service, eligible
from worker.lab.sandbox.effect import Course
from worker.lab.sandbox.http_types import Trouble
from worker.lab.sandbox.log import Log
from worker.lab.sandbox.options import Options
from worker.lab.sandbox.pending import Agenda, Deed
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

_REFERENCE = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What a reference is made of; no form of a body or a link needs to escape it."""


class Depot:
    """All shipments, and the log and counters that make the sandbox an oracle."""

    def __init__(self, options: Options) -> None:
        """Start empty."""
        self._options = options
        self._serial = count(1)
        self.agenda = Agenda()
        self.log = Log()
        self.shipments: dict[tuple[str, str], SimulatedShipment] = {}
        self.puts = 0
        self.reads = 0

    def serial(self) -> int:
        """The next number, for references and correlation ids; it never repeats in one sandbox."""
        return next(self._serial)

    def describe(self, shipment: SimulatedShipment) -> None:
        """Take facts, state and service from this shipment; one that is known keeps its counts and its history."""
        known = self.shipments.setdefault((shipment.key, shipment.reference), shipment)
        known.facts, known.exists_at = shipment.facts, shipment.exists_at
        known.state, known.allocation = shipment.state, shipment.allocation
        known.described += 1

    def known(self, key: str, reference: str, now: float) -> SimulatedShipment | None:
        """The shipment, created if it is the first time that it is named; it may still be in the making."""
        shipment = self.shipments.get((key, reference))
        if shipment is None and self._options.auto_create and _REFERENCE.fullmatch(reference):
            shipment = SimulatedShipment(key=key, reference=reference, created=now)
            self.shipments[key, reference] = shipment
        return shipment

    def find(self, key: str, reference: str, now: float) -> SimulatedShipment | Trouble:
        """The shipment as a caller sees it."""
        shipment = self.known(key, reference, now)
        if shipment is None:
            return SHIPMENT_NOT_FOUND
        return shipment if shipment.exists_at <= now else PROCESSING

    def gate(self, key: str, reference: str, now: float) -> SimulatedShipment | Trouble:
        """The shipment, if its state lets it be allocated: the API's only guard against a second allocation."""
        found = self.find(key, reference, now)
        if isinstance(found, Trouble) or found.state in MAY_BE_ALLOCATED:
            return found
        return WRONG_STATE

    def allocate(self, shipment: SimulatedShipment, services: Sequence[Service], now: float) -> Allocation | None:
        """Give the shipment to the cheapest service that takes it; None (and the failed state) if none does.

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

    def accept(self, shipment: SimulatedShipment, services: tuple[Service, ...], now: float, course: Course) -> None:
        """Take an allocatable shipment on, to be allocated later or never."""
        match course.way:
            case "late":
                self._hide(now + course.delay_s, Deed(shipment=shipment, services=services, hidden=True))
            case "queued":
                self._queue(shipment, services, now, course)
            case "stuck":
                shipment.state = "allocating"
            case _:
                pass

    def _queue(self, shipment: SimulatedShipment, services: tuple[Service, ...], now: float, course: Course) -> None:
        queue_s = self._options.queue_s if course.queue_s is None else course.queue_s
        if course.delay_s:
            deed = Deed(shipment=shipment, services=services, hidden=True, queue_s=queue_s)
            self._hide(now + course.delay_s, deed)
        else:
            shipment.state = "allocating"
            deed = Deed(shipment=shipment, services=services, described=shipment.described)
            self.agenda.add(now + queue_s, deed)

    def _hide(self, due: float, deed: Deed) -> None:
        deed.shipment.pending += 1
        self.agenda.add(due, deed)

    def settle(self, now: float) -> None:
        """Do everything whose time has come, as of that time."""
        for at, deed in self.agenda.due(now):
            self._do(deed, at)

    def _do(self, deed: Deed, at: float) -> None:
        shipment, before = deed.shipment, deed.shipment.state
        if deed.queue_s is not None:
            if before in MAY_BE_ALLOCATED:
                shipment.state = "allocating"
            self.agenda.add(at + deed.queue_s, Deed(shipment=shipment, services=deed.services, hidden=True))
        elif deed.hidden:
            shipment.pending -= 1
            self.allocate(shipment, deed.services, at)
            acted = Acted(at=at, key=shipment.key, reference=shipment.reference, before=before, after=shipment.state)
            self.log.add(acted)
        elif deed.described == shipment.described:
            self.allocate(shipment, deed.services, at)

    def quote(
        self, shipment: SimulatedShipment, services: Sequence[Service], now: float
    ) -> dict[str, tuple[Service, float]]:
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

    def note(self, call: ReceivedCall) -> None:
        """Write a call into the log and the history of every shipment that there is or may be, with its state."""
        self.log.add(call)
        shipments = [self.known(call.key, reference, call.at) for reference in call.references]
        call.before = tuple([None if shipment is None else shipment.state for shipment in shipments])
        for shipment in shipments:
            if shipment is not None:
                shipment.calls.append(call)

    def count_repeats(self, key: str, references: Iterable[str]) -> None:
        """Count an allocate call for each shipment that the API has in hand, whether its state shows it or not."""
        for reference in references:
            shipment = self.shipments.get((key, reference))
            if shipment is not None and (shipment.pending or shipment.state in IN_HAND):
                shipment.blind_repeats += 1
