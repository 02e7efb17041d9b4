"""A worker child serves: it takes what is due, and what comes due, over all merchants, and begins the work on it."""

import asyncio
import math
from collections.abc import Awaitable, Callable

import structlog

from worker.dispatcher import Dispatcher
from worker.in_flight import InFlight
from worker.ledger import Ledger
from worker.scripts import Due
from worker.store import PASSING

SERVES_S = 5.0
"""How long a child serves after a message; one that follows starts the next."""

IDLE_S = 1.0
"""After so long without anything that came due it serves no more."""

BLOCKED_S = 0.1
"""How long it waits when something is due that may not be taken now."""

PACE_S = 0.005
"""At least so much lies between two looks, so that what comes due close together is taken together."""

ROOM = 100
"""With less room than this a child waits for more."""

EMPTIES_S = 40.0
"""How long a child waits until it owns nothing, for a shipment that must be alone there."""

log = structlog.get_logger(__name__)


class Serving:
    """Lives in the child's loop. One message starts it, others that come meanwhile make it longer."""

    def __init__(
        self,
        ledger: Ledger,
        dispatcher: Dispatcher,
        in_flight: InFlight,
        begin: Callable[[Due], Awaitable[None]],
        must_end: Callable[[], bool],
    ) -> None:
        """`begin`: starts the work on what was taken. `must_end`: whether the worker was told to end."""
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._in_flight = in_flight
        self._begin = begin
        self._must_end = must_end
        self._until = 0.0
        self._is_asked = False
        self._going_on: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def start(self) -> "asyncio.Task[None]":
        """Serve for a while, from now on; the task ends when that is over."""
        self._until, self._is_asked = self._loop.time() + SERVES_S, True
        if self._going_on is None or self._going_on.done():
            self._going_on = asyncio.create_task(self._serve())
        return self._going_on

    async def stop(self) -> None:
        """Take nothing more."""
        self._until = 0.0
        if self._going_on is not None:
            await asyncio.wait([self._going_on], timeout=2 * IDLE_S)
            self._going_on.cancel()

    async def _serve(self) -> None:
        # A message may come while this child takes its leave.
        while self._is_asked:
            self._is_asked = False
            try:
                await self._take_until_idle()
            except PASSING as error:
                log.warning("serving_interrupted", error=str(error), next="the sweep starts it again")
            except Exception:
                log.exception("serving_broken", next="the sweep starts it again")
            await self._dispatcher.ring(leaving=True)

    async def _take_until_idle(self) -> None:
        busy_at = self._loop.time()
        while self._goes_on() and self._loop.time() < busy_at + IDLE_S:
            room, looked_at = self._in_flight.room(), self._loop.time()
            if room < ROOM:
                await self._in_flight.changes(IDLE_S / 10)
                busy_at = self._loop.time()
                continue
            due = await self._take(room)
            if due.shipments:
                busy_at = self._loop.time()
            if not due.is_more:
                await self._ledger.wake(IDLE_S)
            elif not due.shipments:
                await self._ledger.wake(BLOCKED_S)
            await asyncio.sleep(looked_at + PACE_S - self._loop.time())

    def _goes_on(self) -> bool:
        return self._loop.time() < self._until and not self._must_end()

    async def _take(self, room: int) -> Due:
        due = await self._ledger.take(room, owns_nothing=self._in_flight.count() == 0)
        await self._begin(due)
        if due.start:
            await self._dispatcher.start(due.start)
        if due.empty_for:
            is_empty = await self._in_flight.alone(EMPTIES_S)
            due = await self._ledger.take(1, owns_nothing=is_empty, alone=due.empty_for)
            await self._begin(due)
        if due.is_alone:
            await self._in_flight.alone(math.inf)
        return due
