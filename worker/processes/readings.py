"""Reads what metrics and pages show, at most every few seconds."""

import asyncio
import gc
import time
from collections.abc import Awaitable
from typing import cast

from celery import Celery
from pydantic_core import from_json

from config.settings import Settings
from worker.dispatch.broker import configure, queue_depths
from worker.ledger import keys
from worker.ledger.records import server_ms
from worker.observability.activity import ActivityReader
from worker.observability.metrics import Readings, exposition
from worker.observability.overview import read_overview
from worker.observability.problems.find import find_problems
from worker.processes.known_files import files_of
from worker.processes.merchant_files import MerchantFiles
from worker.redis_client.store import Store

METRICS_PATH = "/allocation/metrics"

METRICS_KEPT_S = 5.0
"""How old the metrics may be: scrapes within this time share a text."""


class ReadingsSource:
    """The last readings, and the time at which they were read."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """Nothing is read yet."""
        self.files = MerchantFiles(settings.merchants_dir, settings.http_hosts, logs=False)
        self._store = store
        self._settings = settings
        self._broker = configure(Celery("allocation", set_as_current=False), settings)
        self._activity = ActivityReader(store.redis)
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._readings: Readings | None = None
        self._text_of: tuple[Readings, bytes] | None = None

    async def readings(self, max_age_s: float) -> Readings:
        """Readings that are at most so old. Raises the server's errors."""
        async with self._lock:
            if self._readings is None or time.monotonic() - self._read_at > max_age_s:
                is_first = self._readings is None
                self._readings = await self._read()
                self._read_at = time.monotonic()
                if is_first:
                    # The merchant files stay: looking for garbage in thousands of them takes longer than a reading.
                    gc.freeze()
            return self._readings

    async def metrics(self) -> bytes:
        """The metrics as Prometheus text, at most `METRICS_KEPT_S` old. Raises the server's errors."""
        readings = await self.readings(METRICS_KEPT_S)
        if self._text_of is None or self._text_of[0] is not readings:
            self._text_of = readings, exposition(readings)
        return self._text_of[1]

    async def _read(self) -> Readings:
        redis = self._store.redis
        overview, queues, found, activity = await asyncio.gather(
            read_overview(self._store, self._settings),
            asyncio.to_thread(queue_depths, self._broker, self._settings),
            cast("Awaitable[dict[bytes, bytes]]", redis.hgetall(keys.METRICS)),
            self._activity.read(await server_ms(redis)),
        )
        files = files_of(self.files)
        return Readings(
            overview=overview,
            problems=find_problems(overview, queues, files, self._settings),
            counters={tuple(from_json(field)): int(number) for field, number in found.items()},
            queues={} if isinstance(queues, str) else queues,
            apis=files.apis,
            activity=activity,
        )
