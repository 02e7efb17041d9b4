"""The scheduler of Celery beat: sends the sweep unless one is already queued."""

import os
import threading
import time
from typing import Any

import structlog
from celery.beat import ScheduleEntry, Scheduler, SchedulingError
from kombu.exceptions import ConnectionLimitExceeded, OperationalError

from config.celery_options import SWEEPS
from worker.dispatch.broker import queue_depth
from worker.observability.heartbeat import touch_heartbeat_file
from worker.redis_client.store import RedisError

log = structlog.get_logger(__name__)


STALLED_S = 60.0
"""Beat exits if its scheduler has not ticked for this long; a supervisor must restart it."""


class SweepScheduler(Scheduler):
    """Keeps its schedule in memory, without a file, as a repeated or late sweep is harmless."""

    _ticked_at = 0.0
    _is_failing = False

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Run one scheduler tick; the first one starts the watchdog."""
        first, self._ticked_at = not self._ticked_at, time.monotonic()
        if first:
            threading.Thread(target=self._watch, name="beat-watchdog", daemon=True).start()
        touch_heartbeat_file("beat")
        return float(super().tick(*args, **kwargs))

    def _watch(self) -> None:
        while time.monotonic() - self._ticked_at < STALLED_S:
            time.sleep(1)
        log.error("beat_stalled", seconds=STALLED_S, next="beat exits; the supervisor must restart it")
        os._exit(1)

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
