"""The batches that a worker child works on; they run to their end even if the tasks that started them return."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator

import structlog

from tasks.rules.shipment import Shipment
from tasks.work.batch import Batch

YOUNG_S = 1.0
"""Shipments claimed longer ago wait for a slow API and do not keep the child from claiming others."""

MAX_YOUNG, MAX_OWNED = 300, 3000
"""Limits of a child: shipments claimed within `YOUNG_S`, and all shipments it works on."""

POLL_S = 0.05

log = structlog.get_logger(__name__)


class InFlight:
    """The running batches of a child; used in its event loop only."""

    def __init__(self, on_end: Callable[[], None], is_shutting_down: Callable[[], bool]) -> None:
        """`on_end`: called when a batch has ended. `is_shutting_down`: if True, waits return at once."""
        self._work: dict[asyncio.Task[None], tuple[Batch, float]] = {}
        self._changed = asyncio.Event()
        self._reserved = 0
        self._starting = 0
        self._awaiting = 0
        self._on_end = on_end
        self._is_shutting_down = is_shutting_down

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
            log.error("batch_failed", exc_info=error, next="its shipments are parked and retried")

    def shipments(self) -> list[tuple[Shipment, str]]:
        """All shipments in flight, each with its lease token."""
        return [
            (shipment, batch.claim.lease_token) for batch, _ in self._work.values() for shipment in batch.owned.values()
        ]

    def count(self) -> int:
        """Number of shipments in flight."""
        return sum(len(batch.owned) for batch, _ in self._work.values())

    def room(self) -> int:
        """How many more shipments this child may claim."""
        old = time.monotonic() - YOUNG_S
        young = sum(len(batch.owned) for batch, began in self._work.values() if began > old)
        return min(MAX_YOUNG - young, MAX_OWNED - self.count())

    async def changed(self, timeout_s: float) -> None:
        """Wait until a batch ends or a reservation is released, at most `timeout_s` seconds."""
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            pass

    @property
    def is_empty(self) -> bool:
        """Whether no shipment is in flight and no caller of `starting` is about to start a batch."""
        return not self._starting and not self.count()

    @property
    def is_awaited(self) -> bool:
        """Whether a caller of `starting` waits; it goes first, before another reservation."""
        return self._awaiting > 0

    @contextlib.contextmanager
    def reserved(self) -> Iterator[None]:
        """Block callers of `starting`, so that this child can own an isolated shipment and nothing else."""
        self._reserved += 1
        try:
            yield
        finally:
            self._reserved -= 1
            self._changed.set()

    @contextlib.asynccontextmanager
    async def starting(self, patience_s: float) -> AsyncIterator[bool]:
        """Wait until nothing is reserved, at most `patience_s`; yields whether the caller may start batches.

        If it may, the child does not count as empty inside the context.
        """
        self._awaiting += 1
        try:
            may_begin = await self._until(lambda: not self._reserved, patience_s)
        finally:
            self._awaiting -= 1
        self._starting += may_begin
        try:
            yield may_begin
        finally:
            self._starting -= may_begin

    async def until_empty(self, patience_s: float) -> bool:
        """Wait until nothing is in flight; False after `patience_s` seconds or when the worker shuts down."""
        return await self._until(lambda: self.is_empty, patience_s)

    async def _until(self, condition: Callable[[], bool], patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > deadline or self._is_shutting_down():
                return False
            await self.changed(POLL_S)
        return True

    async def drain(self, patience_s: float) -> None:
        """Wait `patience_s` seconds for the running batches, then cancel the others and requeue their shipments."""
        if self._work:
            await asyncio.wait(self._work, timeout=patience_s)
        left = dict(self._work)
        for work in left:
            work.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.gather(*(batch.requeue() for batch, _ in left.values()), return_exceptions=True)
