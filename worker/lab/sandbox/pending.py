"""What the API has accepted and not done yet, in order of time. Time is an argument (Unix seconds)."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from worker.lab.sandbox.catalogue import Service
from worker.lab.sandbox.state import SimulatedShipment


@dataclass(frozen=True, kw_only=True, slots=True)
class Deed:
    """An allocation to come, by the services that its call picked.

    With `queue_s` the shipment first becomes `allocating`, for so long. `hidden` says that the shipment's state does
    not show it from the start. `described` is what the shipment's own count was when the call was accepted.
    """

    shipment: SimulatedShipment
    services: tuple[Service, ...]
    queue_s: float | None = None
    hidden: bool = False
    described: int = 0


class Agenda:
    """Deeds by the time at which they are due."""

    def __init__(self) -> None:
        """Start empty."""
        self._deeds: list[tuple[float, int, Deed]] = []
        self._serial = count()

    def add(self, due: float, deed: Deed) -> None:
        """Accept a deed; of two that are due at the same time the one accepted first comes first."""
        heappush(self._deeds, (due, next(self._serial), deed))

    def due(self, now: float) -> Iterator[tuple[float, Deed]]:
        """Take out every deed that is due by now, with its time; one that is added meanwhile takes its turn."""
        while self._deeds and self._deeds[0][0] <= now:
            at, _, deed = heappop(self._deeds)
            yield at, deed

    def pending(self, key: str | None) -> int:
        """How many deeds are to come, for the shipments of one key or all."""
        return sum(key in {None, deed.shipment.key} for _, _, deed in self._deeds)
