"""Starts a claim loop when a parked shipment is due, so that short waits do not depend on the sweep."""

import asyncio
import math
from collections.abc import Awaitable, Callable

GRID_S = 0.25
MAX_S = 120.0
"""Longer waits are left to the sweep."""


class DispatchTimer:
    """Calls `notify_due` at most once per `GRID_S`; belongs to the running event loop."""

    def __init__(self, notify_due: Callable[[], Awaitable[object]]) -> None:
        """`notify_due`: starts a claim loop if anything is due."""
        self._loop = asyncio.get_running_loop()
        self._notify_due = notify_due
        self._ticks: set[int] = set()
        self._calls: set[asyncio.Future[object]] = set()
        self._stopped = False

    def wake_after(self, wait_s: float) -> None:
        """Call `notify_due` in `wait_s` seconds, rounded up to `GRID_S`; ignored above `MAX_S`."""
        tick = math.ceil((self._loop.time() + wait_s) / GRID_S)
        if wait_s <= MAX_S and tick not in self._ticks:
            self._ticks.add(tick)
            self._loop.call_at(tick * GRID_S, self._on_tick, tick)

    def _on_tick(self, tick: int) -> None:
        self._ticks.discard(tick)
        if self._stopped:
            return
        call = asyncio.ensure_future(self._notify_due())
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def stop(self) -> None:
        """Cancel all timers and wait for running calls."""
        self._stopped = True
        await asyncio.gather(*self._calls, return_exceptions=True)

    @property
    def is_set(self) -> bool:
        """Whether a timer is set."""
        return bool(self._ticks)
