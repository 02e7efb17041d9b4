"""A worker child serves: it takes what is due, and what comes due, over all merchants, and begins the work on it."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable

import structlog

from worker.dispatch.dispatcher import Dispatcher
from worker.ledger.ledger import Ledger
from worker.ledger.scripts import ClaimResult
from worker.processes.in_flight import InFlight
from worker.redis_client.store import TRANSIENT_ERRORS

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


class ClaimLoop:
    """Lives in the child's loop. One message starts it, others that come meanwhile make it longer."""

    def __init__(
        self,
        ledger: Ledger,
        dispatcher: Dispatcher,
        in_flight: InFlight,
        begin: Callable[[ClaimResult], Awaitable[None]],
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
        self._starting: asyncio.Task[int] | None = None
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
            await asyncio.gather(self._going_on, return_exceptions=True)

    @property
    def is_active(self) -> bool:
        """Whether this child takes what is due."""
        return self._going_on is not None and not self._going_on.done()

    async def _serve(self) -> None:
        # A message may come while this child takes its leave.
        while self._is_asked:
            self._is_asked = False
            try:
                await self._take_until_idle()
            except TRANSIENT_ERRORS as error:
                log.warning("serving_interrupted", error=str(error), next="the sweep starts it again")
            except Exception:
                log.exception("serving_broken", next="the sweep starts it again")
            await self._dispatcher.notify_due(leaving=True)

    async def _take_until_idle(self) -> None:
        busy_at, begins = self._loop.time(), True
        while self._goes_on() and self._loop.time() < busy_at + IDLE_S:
            looked_at = self._loop.time()
            if self._in_flight.room() < ROOM:
                await self._in_flight.changes(IDLE_S / 10)
                busy_at = self._loop.time()
                continue
            while self._in_flight.is_awaited:
                await self._in_flight.changes(PACE_S)
            due = await self._take(begins=begins)
            begins = False
            if due.shipments:
                busy_at = self._loop.time()
            if self._in_flight.room() >= ROOM and not (due.is_more and due.shipments):
                await self._ledger.wake(BLOCKED_S if due.is_more else min(IDLE_S, due.next_s))
            await asyncio.sleep(looked_at + PACE_S - self._loop.time())

    def _goes_on(self) -> bool:
        return self._loop.time() < self._until and not self._must_end()

    async def _take(self, *, begins: bool) -> ClaimResult:
        # A shipment that must be alone may come of it: a link must not begin meanwhile.
        with self._in_flight.reserved() if self._in_flight.is_empty else contextlib.nullcontext():
            due = await self._ledger.take(
                self._in_flight.room(), owns_nothing=self._in_flight.is_empty, begins=begins, least_room=ROOM
            )
            await self._begin(due)
            if due.start:
                self._starting = asyncio.create_task(self._dispatcher.start(due.start))
            if due.is_alone:
                await self._in_flight.until_empty(math.inf)
        if due.empty_for:
            await self._take_alone(due.empty_for)
        return due

    async def _take_alone(self, shipment: tuple[str, str]) -> None:
        with self._in_flight.reserved():
            is_empty = await self._in_flight.until_empty(EMPTIES_S)
            due = await self._ledger.take(1, owns_nothing=is_empty, alone=shipment)
            await self._begin(due)
            await self._in_flight.until_empty(math.inf)
