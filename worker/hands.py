"""The batches in a worker child's hands: who works on them, and whether there is room for another one."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog

from tasks.batch import Batch
from tasks.shipment import Shipment

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 0.05


class Hands:
    """Follows batches to their end, also those whose task has returned; lives in the child's loop."""

    def __init__(
        self, fallen_back: Callable[[list[Shipment], str], Awaitable[None]], ended: Callable[[bool], None]
    ) -> None:
        """`fallen_back` is called with what fell back when its task had returned, and the token that holds it.

        `ended`: when a batch has ended that was slow, with whether others look for what is due all the time.
        """
        self._fallen_back = fallen_back
        self._ended = ended
        self._at_work: set[Batch] = set()
        self._slow: dict[asyncio.Task[None], Batch] = {}
        self._alone: Batch | None = None

    def _batches(self) -> Iterable[Batch]:
        return (*self._at_work, *self._slow.values())

    def shipments(self) -> list[tuple[Shipment, str]]:
        """Everything in our hands, with the token that holds it."""
        return [(held, batch.taken.task) for batch in self._batches() for held in batch.in_hands.values()]

    def count(self) -> int:
        """How many shipments these are."""
        return sum(len(batch.in_hands) for batch in self._batches())

    async def has_room(self, *, alone: bool, patience_s: float) -> bool:
        """Wait until nothing stands against a message: a shipment that lost its worker shares its child with no other.

        Celery gives this child no other message meanwhile, so what is in our hands only becomes less.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        while self._is_taken(alone=alone):
            if loop.time() > deadline:
                return False
            await asyncio.sleep(_LOOK_EVERY_S)
        return True

    def _is_taken(self, *, alone: bool) -> bool:
        if self._alone and not self._alone.in_hands:
            self._alone = None
        return self._alone is not None or (alone and self.count() > 0)

    def begin(self, batch: Batch, *, alone: bool) -> None:
        """Start the work on a batch."""
        batch.start()
        self._at_work.add(batch)
        if alone:
            self._alone = batch

    async def wait(self, batch: Batch, patience_s: float) -> list[Shipment]:
        """Wait for a batch, and follow what is slow; returns what fell back in time."""
        try:
            fell_back, going_on = await batch.run(patience_s, self._late(batch))
        finally:
            self._at_work.discard(batch)
        if going_on:
            self._follow(going_on, batch, others_look=False)
        return fell_back

    def go_on(self, batch: Batch, look_every_s: float) -> None:
        """Follow a batch to its end whose task waits no more."""
        if batch in self._at_work:
            self._at_work.discard(batch)
            self._follow(asyncio.create_task(batch.go_on(look_every_s, self._late(batch))), batch, others_look=True)

    def _late(self, batch: Batch) -> Callable[[list[Shipment]], Awaitable[None]]:
        return lambda shipments: self._fallen_back(shipments, batch.taken.task)

    def _follow(self, going_on: "asyncio.Task[None]", batch: Batch, *, others_look: bool) -> None:
        self._slow[going_on] = batch

        def done(task: "asyncio.Task[None]") -> None:
            self._slow.pop(task, None)
            if not task.cancelled() and (error := task.exception()):
                log.error("batch_broken", exc_info=error, next="its shipments are due again later")
            self._ended(others_look)

        going_on.add_done_callback(done)

    async def empty(self, patience_s: float) -> None:
        """Wait for what is under way, and hand back what takes longer."""
        work: set[asyncio.Task[Any]] = {task for batch in self._batches() for task in batch.work} | set(self._slow)
        if work:
            await asyncio.wait(work, timeout=patience_s)
        for task in self._slow:
            task.cancel()
        for batch in list(self._batches()):
            await batch.hand_back()
