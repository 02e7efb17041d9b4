"""The scheduler of Celery beat: sends the sweep unless one is already queued."""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from celery.beat import ScheduleEntry, Scheduler, SchedulingError
from kombu.exceptions import ConnectionLimitExceeded, OperationalError

from config.celery_options import SWEEPS
from config.settings import Settings
from worker.dispatch.broker import queue_depth
from worker.observability.heartbeat import publish_heartbeat, touch_heartbeat_file, withdraw_heartbeat
from worker.observability.watchdog import EXITS, STALLED_S, Watchdog
from worker.processes.environment import load
from worker.redis_client.store import TRANSIENT_ERRORS, RedisError, Store, connect

log = structlog.get_logger(__name__)


PUBLISH_EVERY_S = 10.0
"""How often beat publishes its heartbeat; each time takes a connection of its own."""


class SweepScheduler(Scheduler):
    """Keeps its schedule in memory, without a file, as a repeated or late sweep is harmless."""

    _watchdog: Watchdog | None = None
    _is_failing = False

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Run one scheduler tick; the first one starts the watchdog."""
        if self._watchdog is None:
            self._watchdog = Watchdog()
            threading.Thread(target=self._watch, args=[self._watchdog], name="beat-watchdog", daemon=True).start()
        self._watchdog.progress()
        touch_heartbeat_file("beat")
        return float(super().tick(*args, **kwargs))

    def _watch(self, watchdog: Watchdog) -> None:
        settings, publish_at = load(), 0.0
        while not watchdog.is_stalled():
            if time.monotonic() >= publish_at:
                publish_at = time.monotonic() + PUBLISH_EVERY_S
                _in_store(settings, lambda store: publish_heartbeat(store, "beat", os.getpid(), None))
            time.sleep(1)
        log.error("beat_stalled", seconds=STALLED_S, next=EXITS)
        os._exit(1)

    def close(self) -> None:
        """Withdraw the heartbeat when beat ends."""
        super().close()
        if self._watchdog is not None:
            _in_store(load(), lambda store: withdraw_heartbeat(store, "beat", os.getpid()))

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:  # kombu's Producer
        """Send a due entry unless one is queued, so that messages do not pile up while no worker runs."""
        try:
            waiting = self._waiting()
        except (ConnectionLimitExceeded, OperationalError, OSError, RedisError) as error:
            self._log_failure(error)
            return
        if waiting:
            self._is_failing = False
            return
        try:
            # Celery's own `apply_entry` would log a traceback if the broker became unavailable in between.
            self.apply_async(entry, producer=producer, advance=False)
        except SchedulingError as error:
            self._log_failure(error)
        else:
            self._is_failing = False

    def _log_failure(self, error: Exception) -> None:
        """Log the first failure until the broker is available again."""
        if not self._is_failing:
            self._is_failing = True
            log.warning(
                "broker_unavailable", error=str(error), next="the sweep is sent when the broker is available again"
            )

    def _waiting(self) -> int:
        with self.app.pool.acquire(block=True, timeout=5) as connection:
            return queue_depth(connection, SWEEPS)


def _in_store(settings: Settings, work: Callable[[Store], Awaitable[None]]) -> None:
    """Run `work` with a connection; an unavailable server is ignored."""

    async def run() -> None:
        redis = connect(settings)
        try:
            await work(Store(redis))
        finally:
            await redis.aclose()

    with contextlib.suppress(*TRANSIENT_ERRORS, OSError):
        asyncio.run(run())
