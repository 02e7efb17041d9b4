"""Starts worker children: a Celery message says that work is due; who gets it takes from the ledger what is."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from celery import Celery
from kombu.exceptions import ConnectionLimitExceeded, OperationalError

from config.celery_options import BATCHES
from tasks.allocate import ALLOCATE_TASK
from tasks.work.messages import StartMessage
from worker.ledger.ledger import Ledger
from worker.redis_client.store import RedisError

log = structlog.get_logger(__name__)

TROUBLE = (RedisError, OSError, ConnectionLimitExceeded, OperationalError)


class Dispatcher:
    """Sends a message where the ledger says that nobody listens."""

    def __init__(self, app: Celery, ledger: Ledger) -> None:
        """`app` sends, `ledger` knows who listens."""
        self._app = app
        self._ledger = ledger
        # One thread, which keeps its producer: most of sending is preparing one.
        self._sender = ThreadPoolExecutor(max_workers=1, thread_name_prefix="allocation-sender")
        self._producer: Any = None
        self._failing = False

    async def notify_due(self, *, leaving: bool = False) -> int:
        """Have what is due taken; returns how many messages that took.

        With Redis or the broker away it says so and returns: whatever is due stays due. `leaving`: this child takes
        nothing more for now.
        """
        try:
            start = await self._ledger.notify_due(leaving=leaving)
        except TROUBLE as error:
            return self._failed(error)
        return await self.start(start) if start else 0

    async def start(self, start: StartMessage) -> int:
        """Send a message that starts a child; returns how many were sent."""
        try:
            await self.in_thread(self._send, start)
        except TROUBLE as error:
            return self._failed(error)
        self._failing = False
        return 1

    async def in_thread(self, send: Any, *args: Any) -> Any:
        """Run what blocks for the broker's answer beside the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._sender, send, *args)

    def _send(self, start: StartMessage) -> None:
        if self._producer is None:
            self._producer = self._app.producer_pool.acquire(block=True, timeout=5)
        # The queue's name alone: an exchange's bindings are lost when somebody empties the broker. Workers declare the
        # queue when they begin to read it.
        self._app.send_task(
            ALLOCATE_TASK,
            kwargs=start.as_message(),
            queue=BATCHES,
            declare=[],
            ignore_result=True,
            producer=self._producer,
        )

    def _failed(self, error: Exception) -> int:
        """Said once, until it works again."""
        if not self._failing:
            self._failing = True
            log.warning("dispatch_failed", error=str(error), next="the sweep tries again")
        return 0
