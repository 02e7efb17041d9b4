"""What a worker child works on: its batches, followed to their end whatever becomes of the tasks that began them."""

import asyncio
import time
from collections.abc import Callable

import structlog

from tasks.batch import Batch
from tasks.shipment import Shipment

YOUNG_S = 1.0
"""Shipments that were taken longer ago wait for a slow API: they keep nobody from taking others."""

MOST_YOUNG, MOST = 300, 3000
"""How many shipments a child works on: in all, and such as were taken just now."""

LOOK_EVERY_S = 0.05

log = structlog.get_logger(__name__)


class InFlight:
    """Lives in the child's loop."""

    def __init__(self) -> None:
        """Nothing is in flight yet."""
        self._work: dict[asyncio.Task[None], tuple[Batch, float]] = {}
        self._changed = asyncio.Event()
        self._alone = False

    def begin(self, batch: Batch) -> "asyncio.Task[None]":
        """Start the work on a batch."""
        work = asyncio.create_task(batch.run())
        self._work[work] = (batch, time.monotonic())
        work.add_done_callback(self._ended)
        return work

    def _ended(self, work: "asyncio.Task[None]") -> None:
        del self._work[work]
        self._changed.set()
        if not work.cancelled() and (error := work.exception()):
            log.error("batch_broken", exc_info=error, next="its shipments are due again later")

    def shipments(self) -> list[tuple[Shipment, str]]:
        """Everything that is in flight, with the token that holds it."""
        return [(held, batch.taken.task) for batch, _ in self._work.values() for held in batch.in_hands.values()]

    def count(self) -> int:
        """How many shipments these are."""
        return sum(len(batch.in_hands) for batch, _ in self._work.values())

    def room(self) -> int:
        """How many more may be taken."""
        old = time.monotonic() - YOUNG_S
        young = sum(len(batch.in_hands) for batch, began in self._work.values() if began > old)
        return min(MOST_YOUNG - young, MOST - self.count())

    async def changes(self, timeout_s: float) -> None:
        """Wait until a batch has ended, at most so long."""
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def alone(self, patience_s: float) -> bool:
        """Wait until nothing is in flight, and let nothing begin meanwhile; false if that takes longer."""
        self._alone = True
        try:
            return await self._until(lambda: not self.count(), patience_s)
        finally:
            self._alone = False

    async def may_begin(self, patience_s: float) -> bool:
        """Wait while a shipment must be alone; false if that takes longer."""
        return await self._until(lambda: not self._alone, patience_s)

    async def _until(self, is_so: Callable[[], bool], patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        while not is_so():
            if time.monotonic() > deadline:
                return False
            await self.changes(LOOK_EVERY_S)
        return True

    async def empty(self, patience_s: float) -> None:
        """Wait for what is under way, and hand back what takes longer."""
        if self._work:
            await asyncio.wait(self._work, timeout=patience_s)
        left = dict(self._work)
        for work in left:
            work.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.gather(*(batch.hand_back() for batch, _ in left.values()), return_exceptions=True)
