"""Hand out what is due: claim it in the ledger, then send one Celery message per micro-batch."""

import asyncio
from collections.abc import Coroutine, Sequence
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


class HandOut:
    """Keeps Celery's queue short: it holds only what can run now, the rest waits in the schedule."""

    def __init__(self, app: Celery, ledger: Ledger, settings: Settings) -> None:
        """`app` sends, `ledger` claims."""
        self._app = app
        self._ledger = ledger
        self._most_waiting = max(2, WAITING_PER_CHILD * settings.concurrency)

    async def hand_out(self) -> int:
        """Send messages until the queue is filled; returns how many.

        With Redis or the broker away it says so and returns: whatever is due stays due.
        """
        return await self._guarded(self._fill())

    async def replace(self) -> int:
        """Send one message in the place of one that was taken: no need to ask how long the queue is."""
        return await self._guarded(self._claim_and_send(1))

    async def _fill(self) -> int:
        room = self._most_waiting - await asyncio.to_thread(self._depth)
        return await self._claim_and_send(room) if room > 0 else 0

    async def _claim_and_send(self, most: int) -> int:
        batches = await self._ledger.claim(most)
        if batches:
            await asyncio.to_thread(self._send, batches)
        return len(batches)

    async def _guarded(self, handing_out: Coroutine[Any, Any, int]) -> int:
        try:
            return await handing_out
        except (RedisError, OSError, ConnectionLimitExceeded, OperationalError) as error:
            log.warning("hand_out_failed", error=str(error), next="the sweep tries again")
            return 0

    def _depth(self) -> int:
        with self._app.pool.acquire(block=True, timeout=5) as connection:
            return queue_depth(connection, BATCHES)

    def _send(self, batches: Sequence[Handover]) -> None:
        for batch in batches:
            # The queue's name alone: an exchange's bindings are lost when somebody empties the broker.
            self._app.send_task(ALLOCATE_TASK, kwargs=batch.as_message(), queue=BATCHES, ignore_result=True)
