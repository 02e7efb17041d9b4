"""What a worker child works on: its batches, followed to their end whatever becomes of the tasks that began them."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator

import structlog

from tasks.rules.shipment import Shipment
from tasks.work.batch import Batch

YOUNG_S = 1.0
"""Shipments that were taken longer ago wait for a slow API: they keep nobody from taking others."""

MAX_YOUNG, MOST = 300, 3000
"""Most shipments a child works on: of those taken within `YOUNG_S`, and in all."""

LOOK_EVERY_S = 0.05

log = structlog.get_logger(__name__)


class InFlight:
    """Lives in the child's loop."""

    def __init__(self, ended: Callable[[], None], must_end: Callable[[], bool]) -> None:
        """`ended`: called when a batch has ended. `must_end`: whether the worker was told to end; then nobody waits."""
        self._work: dict[asyncio.Task[None], tuple[Batch, float]] = {}
        self._changed = asyncio.Event()
        self._reserved = 0
        self._coming = 0
        self._awaiting = 0
        self._on_end = ended
        self._must_end = must_end

    def begin(self, batch: Batch) -> "asyncio.Task[None]":
        """Start the work on a batch."""
        work = asyncio.create_task(batch.run())
        self._work[work] = (batch, time.monotonic())
        work.add_done_callback(self._ended)
        return work

    def _ended(self, work: "asyncio.Task[None]") -> None:
        del self._work[work]
        self._changed.set()
        self._on_end()
        if not work.cancelled() and (error := work.exception()):
            log.error("batch_failed", exc_info=error, next="its shipments are due again later")

    def shipments(self) -> list[tuple[Shipment, str]]:
        """Everything that is in flight, with the token that holds it."""
        return [(held, batch.claim.lease_token) for batch, _ in self._work.values() for held in batch.owned.values()]

    def count(self) -> int:
        """How many shipments these are."""
        return sum(len(batch.owned) for batch, _ in self._work.values())

    def room(self) -> int:
        """How many more may be taken."""
        old = time.monotonic() - YOUNG_S
        young = sum(len(batch.owned) for batch, began in self._work.values() if began > old)
        return min(MAX_YOUNG - young, MOST - self.count())

    async def changed(self, timeout_s: float) -> None:
        """Wait until a batch has ended, at most so long."""
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            pass

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in flight, and nothing about to be."""
        return not self._coming and not self.count()

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits to begin something, which has its turn before more is reserved."""
        return self._awaiting > 0

    @contextlib.contextmanager
    def reserved(self) -> Iterator[None]:
        """Let nobody else begin anything, for a shipment that must be alone."""
        self._reserved += 1
        try:
            yield
        finally:
            self._reserved -= 1
            self._changed.set()

    @contextlib.asynccontextmanager
    async def coming(self, patience_s: float) -> AsyncIterator[bool]:
        """Whether something else may begin, once nothing is reserved; what does is counted from now on."""
        self._awaiting += 1
        try:
            may_begin = await self._until(lambda: not self._reserved, patience_s)
        finally:
            self._awaiting -= 1
        self._coming += may_begin
        try:
            yield may_begin
        finally:
            self._coming -= may_begin

    async def until_empty(self, patience_s: float) -> bool:
        """Wait until nothing is in flight; false if that takes longer, or the worker is told to end."""
        return await self._until(lambda: self.is_empty, patience_s)

    async def _until(self, is_so: Callable[[], bool], patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        while not is_so():
            if time.monotonic() > deadline or self._must_end():
                return False
            await self.changed(LOOK_EVERY_S)
        return True

    async def empty(self, patience_s: float) -> None:
        """Wait for what is under way, and hand back what takes longer."""
        if self._work:
            await asyncio.wait(self._work, timeout=patience_s)
        left = dict(self._work)
        for work in left:
            work.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.gather(*(batch.requeue() for batch, _ in left.values()), return_exceptions=True)
