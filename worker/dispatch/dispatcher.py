"""Starts worker children: a Celery message says that work is due; the child claims it from the ledger."""

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
    """Sends a start message when the ledger says that no child listens."""

    def __init__(self, app: Celery, ledger: Ledger) -> None:
        """`app` sends messages, `ledger` knows whether a child listens."""
        self._app = app
        self._ledger = ledger
        # One thread, which keeps its producer: creating one is most of the cost.
        self._sender = ThreadPoolExecutor(max_workers=1, thread_name_prefix="allocation-sender")
        self._producer: Any = None
        self._failing = False

    async def notify_due(self, *, leaving: bool = False) -> int:
        """Have due shipments claimed; returns how many messages were sent.

        When Redis or the broker is unavailable it logs that and returns: what is due stays due. `leaving`: this child
        stops listening.
        """
        try:
            start = await self._ledger.notify_due(leaving=leaving)
        except TROUBLE as error:
            return self._failed(error)
        return await self.start(start) if start else 0

    async def start(self, start: StartMessage) -> int:
        """Send a start message; returns how many were sent."""
        try:
            await self.in_thread(self._send, start)
        except TROUBLE as error:
            return self._failed(error)
        self._failing = False
        return 1

    async def in_thread(self, send: Any, *args: Any) -> Any:
        """Run a blocking call to the broker in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._sender, send, *args)

    def _send(self, start: StartMessage) -> None:
        if self._producer is None:
            self._producer = self._app.producer_pool.acquire(block=True, timeout=5)
        # By queue name only: an exchange's bindings are lost when the broker is emptied. Workers declare the queue when
        # they start to consume it.
        self._app.send_task(
            ALLOCATE_TASK,
            kwargs=start.as_message(),
            queue=BATCHES,
            declare=[],
            ignore_result=True,
            producer=self._producer,
        )

    def _failed(self, error: Exception) -> int:
        """Log once, until it works again."""
        if not self._failing:
            self._failing = True
            log.warning("dispatch_failed", error=str(error), next="the sweep tries again")
        return 0
