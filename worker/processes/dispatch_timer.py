"""Wakes a worker child when something parked comes due, so that short waits do not depend on the sweep."""

import asyncio
import math
from collections.abc import Awaitable, Callable

GRID_S = 0.25
MAX_S = 120.0
"""Who waits for longer is found by a sweep."""


class DispatchTimer:
    """Calls `notify_due` at most once in `GRID_S`; lives in the running loop."""

    def __init__(self, notify_due: Callable[[], Awaitable[object]]) -> None:
        """`notify_due`: has what is due taken."""
        self._loop = asyncio.get_running_loop()
        self._fire = notify_due
        self._set: set[int] = set()
        self._ringing: set[asyncio.Future[object]] = set()
        self._stopped = False

    def wake_after(self, wait_s: float) -> None:
        """Ring in so many seconds."""
        tick = math.ceil((self._loop.time() + wait_s) / GRID_S)
        if wait_s <= MAX_S and tick not in self._set:
            self._set.add(tick)
            self._loop.call_at(tick * GRID_S, self._fires_at, tick)

    def _fires_at(self, tick: int) -> None:
        self._set.discard(tick)
        if self._stopped:
            return
        ringing = asyncio.ensure_future(self._fire())
        self._ringing.add(ringing)
        ringing.add_done_callback(self._ringing.discard)

    async def stop(self) -> None:
        """Ring no more, and wait for what is ringing."""
        self._stopped = True
        await asyncio.gather(*self._ringing, return_exceptions=True)

    @property
    def is_set(self) -> bool:
        """Whether it will ring."""
        return bool(self._set)
