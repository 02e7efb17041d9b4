"""Ends what takes too long: one timer for all that end about then costs less than one for each."""

import asyncio
from typing import Protocol

TICK_S = 0.05


class Endable(Protocol):
    """What can take too long."""

    def end(self, error: Exception | None) -> None:
        """Take no longer."""


class Deadlines:
    """Lives in one event loop."""

    def __init__(self) -> None:
        """Nothing is waited for."""
        self._due: dict[int, set[Endable]] = {}
        self._timed: set[int] = set()

    def add(self, one: Endable, within_s: float) -> int:
        """Have it end with a TimeoutError in so many seconds, or up to a tick sooner; returns what `discard` needs."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        tick = max(int((now + within_s) / TICK_S), int(now / TICK_S) + 1)
        if tick not in self._timed:
            self._timed.add(tick)
            loop.call_at(tick * TICK_S, self._end, tick)
        self._due.setdefault(tick, set()).add(one)
        return tick

    def discard(self, one: Endable, tick: int) -> None:
        """It is over, or nobody waits for it any more."""
        due = self._due.get(tick, set())
        due.discard(one)
        if not due:
            # A set keeps the memory of its largest size.
            self._due.pop(tick, None)

    def _end(self, tick: int) -> None:
        self._timed.discard(tick)
        for one in self._due.pop(tick, ()):
            # At once: a turn later it may be somebody else's.
            one.end(TimeoutError())
