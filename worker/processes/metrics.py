"""Reads what a scrape shows, at most every few seconds."""

import asyncio
import time
from typing import Any

from celery import Celery
from pydantic_core import from_json

from config.settings import Settings
from worker.dispatch.broker import configure, queue_depths
from worker.ledger import keys
from worker.observability.metrics import Readings, exposition
from worker.observability.overview import read_overview
from worker.observability.problems.find import find_problems
from worker.processes.known_files import files_of
from worker.processes.merchant_files import MerchantFiles
from worker.redis_client.store import Store

PATH = "/allocation/metrics"

KEPT_S = 5.0
"""How old a text may be: scrapes within this time share it."""


class MetricsSource:
    """The metrics' text, and the time at which it was read."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """Nothing is read yet."""
        self._store = store
        self._settings = settings
        self._files = MerchantFiles(settings.merchants_dir, settings.http_hosts, logs=False)
        self._broker = configure(Celery("allocation", set_as_current=False), settings)
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._text = b""

    async def text(self) -> bytes:
        """The metrics as Prometheus text, at most `KEPT_S` old. Raises the server's errors."""
        async with self._lock:
            if time.monotonic() - self._read_at > KEPT_S:
                self._text = exposition(await self._read())
                self._read_at = time.monotonic()
            return self._text

    async def _read(self) -> Readings:
        queues = await asyncio.to_thread(queue_depths, self._broker, self._settings)
        overview = await read_overview(self._store, self._settings)
        problems = find_problems(overview, queues, files_of(self._files), self._settings)
        found: Any = await self._store.redis.hgetall(keys.METRICS)
        return Readings(
            overview=overview,
            problems=problems,
            counters={tuple(from_json(field)): int(number) for field, number in found.items()},
            queues={} if isinstance(queues, str) else queues,
        )
