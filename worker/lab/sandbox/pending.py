"""Actions that the API has accepted and not carried out, in order of time. Time is an argument (Unix seconds)."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from worker.lab.sandbox.catalogue import Service
from worker.lab.sandbox.state import SimulatedShipment


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingAction:
    """A pending allocation to one of the services that its call selected.

    With `queue_s` the shipment is first `allocating` for this time. `hidden`: the state does not show it from
    the start. `described`: the shipment's own count when the call was accepted.
    """

    shipment: SimulatedShipment
    services: tuple[Service, ...]
    queue_s: float | None = None
    hidden: bool = False
    described: int = 0


class PendingActions:
    """Pending actions by the time at which they are due."""

    def __init__(self) -> None:
        """Start empty."""
        self._actions: list[tuple[float, int, PendingAction]] = []
        self._serial = count()

    def add(self, due: float, action: PendingAction) -> None:
        """Add an action; of two with the same due time the one added first comes first."""
        heappush(self._actions, (due, next(self._serial), action))

    def due(self, now: float) -> Iterator[tuple[float, PendingAction]]:
        """Remove and yield every due action with its time, including those added meanwhile."""
        while self._actions and self._actions[0][0] <= now:
            at, _, action = heappop(self._actions)
            yield at, action

    def pending(self, key: str | None) -> int:
        """The number of pending actions, for the shipments of one key or all."""
        return sum(key in {None, action.shipment.key} for _, _, action in self._actions)
