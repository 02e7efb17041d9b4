"""Hand out what is due: claim it in the ledger, then send one Celery message per micro-batch."""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from celery import Celery
from kombu.exceptions import ConnectionLimitExceeded, OperationalError

from config.celery_options import BATCHES
from config.settings import Settings
from tasks.allocate import ALLOCATE_TASK
from tasks.ports import Handover
from worker.broker import queue_depth
from worker.ledger import Ledger
from worker.store import RedisError

log = structlog.get_logger(__name__)

WAITING_PER_CHILD = 1

_SHOWN = 1024

_TROUBLE = (RedisError, OSError, ConnectionLimitExceeded, OperationalError)


class HandOut:
    """Keeps Celery's queue short: it holds only what can run now, the rest waits in the schedule."""

    def __init__(self, app: Celery, ledger: Ledger, settings: Settings) -> None:
        """`app` sends, `ledger` claims."""
        self._app = app
        self._ledger = ledger
        self._most_waiting = max(2, WAITING_PER_CHILD * settings.concurrency)
        self._producer: Any = None
        self._failing = False

    async def hand_out(self) -> int:
        """Send messages until the queue is filled; returns how many.

        With Redis or the broker away it says so and returns: whatever is due stays due.
        """
        try:
            sent = await self._fill()
        except _TROUBLE as error:
            return self._failed(error)
        self._failing = False
        return sent

    def send(self, batches: Sequence[Handover]) -> int:
        """Send what was claimed in the place of a message that was taken: no need to ask how long the queue is.

        Blocks for a round trip to the broker; always to be called by the same thread, as that one keeps its producer.
        With the broker away the leases of the batches run out.
        """
        try:
            if batches and self._producer is None:
                self._producer = self._app.producer_pool.acquire(block=True, timeout=5)
            return self._send(batches, self._producer)
        except _TROUBLE as error:
            return self._failed(error)

    async def _fill(self) -> int:
        room = self._most_waiting - await asyncio.to_thread(self._depth)
        batches = await self._ledger.claim(room) if room > 0 else []
        return await asyncio.to_thread(self._send, batches, None) if batches else 0

    def _depth(self) -> int:
        with self._app.pool.acquire(block=True, timeout=5) as connection:
            return queue_depth(connection, BATCHES)

    def _send(self, batches: Sequence[Handover], producer: Any) -> int:
        for batch in batches:
            message = batch.as_message()
            self._app.send_task(
                ALLOCATE_TASK,
                kwargs=message,
                # What Flower shows, at the length to which Celery would cut it, with less ado.
                kwargsrepr=repr(message)[:_SHOWN],
                # The queue's name alone: an exchange's bindings are lost when somebody empties the broker. Workers
                # declare the queue when they begin to read it.
                queue=BATCHES,
                declare=[],
                ignore_result=True,
                producer=producer,
            )
        return len(batches)

    def _failed(self, error: Exception) -> int:
        """Said once, until it works again."""
        if not self._failing:
            self._failing = True
            log.warning("hand_out_failed", error=str(error), next="the sweep tries again")
        return 0
