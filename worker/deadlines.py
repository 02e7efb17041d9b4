"""Timeouts: deadlines within the same tick share one timer, which costs less than one timer each."""

import asyncio
from typing import Protocol

TICK_S = 0.05


class Endable(Protocol):
    """An operation with a timeout."""

    def end(self, error: Exception | None) -> None:
        """End the operation, with `error` if it failed."""


class Deadlines:
    """The deadlines of one event loop."""

    def __init__(self) -> None:
        """No deadlines yet."""
        self._due: dict[int, set[Endable]] = {}
        self._timed: set[int] = set()

    def add(self, one: Endable, within_s: float) -> int:
        """End `one` with a TimeoutError in `within_s` seconds, or a tick sooner; returns the tick for `discard`."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        tick = max(int((now + within_s) / TICK_S), int(now / TICK_S) + 1)
        if tick not in self._timed:
            self._timed.add(tick)
            loop.call_at(tick * TICK_S, self._end, tick)
        self._due.setdefault(tick, set()).add(one)
        return tick

    def discard(self, one: Endable, tick: int) -> None:
        """Remove a deadline, as the operation has ended or is no longer awaited."""
        due = self._due.get(tick, set())
        due.discard(one)
        if not due:
            # A set keeps the memory of its largest size.
            self._due.pop(tick, None)

    def _end(self, tick: int) -> None:
        self._timed.discard(tick)
        for one in self._due.pop(tick, ()):
            # Not deferred: by the next loop iteration `one` may be reused for another operation.
            one.end(TimeoutError())
