"""The claim loop of a worker child: claims due shipments of all merchants and starts their batches."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable

import structlog

from worker.dispatch.dispatcher import Dispatcher
from worker.ledger.ledger import Ledger
from worker.ledger.rows import ClaimResult
from worker.processes.in_flight import InFlight
from worker.redis_client.store import TRANSIENT_ERRORS

LOOP_S = 5.0
"""How long a claim loop runs after the last start message."""

IDLE_S = 1.0
"""The claim loop ends after this time without a claimed shipment."""

BLOCKED_S = 0.1
"""Wait when shipments are due that may not be claimed now."""

MIN_INTERVAL_S = 0.005
"""Minimum time between two claims, so that shipments due close together are claimed together."""

MIN_ROOM = 100
"""A child that may claim fewer shipments than this waits for running batches to end."""

EMPTY_WAIT_S = 40.0
"""How long a child waits until it owns nothing, before it claims an isolated shipment."""

log = structlog.get_logger(__name__)


class ClaimLoop:
    """Used in the child's event loop only. A start message starts it; further ones extend it."""

    def __init__(
        self,
        ledger: Ledger,
        dispatcher: Dispatcher,
        in_flight: InFlight,
        begin: Callable[[ClaimResult], Awaitable[None]],
        is_shutting_down: Callable[[], bool],
    ) -> None:
        """`begin`: starts the batches of a claim. `is_shutting_down`: whether the worker shuts down."""
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._in_flight = in_flight
        self._begin = begin
        self._is_shutting_down = is_shutting_down
        self._until = 0.0
        self._is_requested = False
        self._running: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[int] | None = None
        self._loop = asyncio.get_running_loop()

    def start(self) -> "asyncio.Task[None]":
        """Claim for `LOOP_S` from now on; returns the task that ends with the loop."""
        self._until, self._is_requested = self._loop.time() + LOOP_S, True
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return self._running

    async def stop(self) -> None:
        """Stop claiming."""
        self._until = 0.0
        if self._running is not None:
            await asyncio.wait([self._running], timeout=2 * IDLE_S)
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    @property
    def is_active(self) -> bool:
        """Whether the loop runs."""
        return self._running is not None and not self._running.done()

    async def _run(self) -> None:
        # A start message may arrive while `notify_due` reports that this loop ends.
        while self._is_requested:
            self._is_requested = False
            try:
                await self._claim_until_idle()
            except TRANSIENT_ERRORS as error:
                log.warning("claim_loop_interrupted", error=str(error), next="the next sweep starts it again")
            except Exception:
                log.exception("claim_loop_failed", next="the next sweep starts it again")
            await self._dispatcher.notify_due(leaving=True)

    async def _claim_until_idle(self) -> None:
        active_at, is_starting = self._loop.time(), True
        while self._may_continue() and self._loop.time() < active_at + IDLE_S:
            claimed_at = self._loop.time()
            if self._in_flight.room() < MIN_ROOM:
                await self._in_flight.changed(IDLE_S / 10)
                active_at = self._loop.time()
                continue
            while self._in_flight.is_awaited:
                await self._in_flight.changed(MIN_INTERVAL_S)
            result = await self._claim(is_starting=is_starting)
            is_starting = False
            if result.shipments:
                active_at = self._loop.time()
            if self._in_flight.room() >= MIN_ROOM and not (result.is_more and result.shipments):
                await self._ledger.wait_for_wakeup(BLOCKED_S if result.is_more else min(IDLE_S, result.next_s))
            await asyncio.sleep(claimed_at + MIN_INTERVAL_S - self._loop.time())

    def _may_continue(self) -> bool:
        return self._loop.time() < self._until and not self._is_shutting_down()

    async def _claim(self, *, is_starting: bool) -> ClaimResult:
        # The claim may return an isolated shipment, so no link may start meanwhile.
        with self._in_flight.reserved() if self._in_flight.is_empty else contextlib.nullcontext():
            result = await self._ledger.claim(
                self._in_flight.room(), is_empty=self._in_flight.is_empty, is_starting=is_starting, min_room=MIN_ROOM
            )
            await self._begin(result)
            if result.start:
                self._starting = asyncio.create_task(self._dispatcher.start(result.start))
            if result.is_isolated:
                await self._in_flight.until_empty(math.inf)
        if result.isolate_next:
            await self._claim_isolated(result.isolate_next)
        return result

    async def _claim_isolated(self, shipment: tuple[str, str]) -> None:
        with self._in_flight.reserved():
            is_empty = await self._in_flight.until_empty(EMPTY_WAIT_S)
            result = await self._ledger.claim(1, is_empty=is_empty, isolated=shipment)
            await self._begin(result)
            await self._in_flight.until_empty(math.inf)
