"""The scheduler of Celery beat: sends the sweep, but never a second one while the first still waits."""

import os
import threading
import time
from typing import Any

import structlog
from celery.beat import ScheduleEntry, Scheduler, SchedulingError
from kombu.exceptions import ConnectionLimitExceeded, OperationalError

from config.celery_options import SWEEPS
from worker.dispatch.broker import queue_depth
from worker.observability.heartbeat import touch
from worker.redis_client.store import RedisError

log = structlog.get_logger(__name__)


STALLED_S = 60.0
"""A beat whose clockwork stood still for so long ends, to be started anew by whoever watches over it."""


class SweepScheduler(Scheduler):
    """Keeps its schedule in memory (no file), as a sweep that comes twice or late does no harm."""

    _ticked_at = 0.0
    _away = False

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """One turn of the clockwork; the first starts the watch over it."""
        first, self._ticked_at = not self._ticked_at, time.monotonic()
        if first:
            threading.Thread(target=self._watch, name="beat-watch", daemon=True).start()
        touch("beat")
        return float(super().tick(*args, **kwargs))

    def _watch(self) -> None:
        while time.monotonic() - self._ticked_at < STALLED_S:
            time.sleep(1)
        log.error("beat_stalled", seconds=STALLED_S, next="ending, to be started anew")
        os._exit(1)

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:  # kombu's Producer
        """Send a due entry, unless the queue holds one already: while no worker runs, no messages pile up."""
        try:
            waiting = self._waiting()
        except (ConnectionLimitExceeded, OperationalError, OSError, RedisError) as error:
            self._note_trouble(error)
            return
        if waiting:
            self._away = False
            return
        try:
            # Not Celery's own `apply_entry`, which writes a traceback when the broker goes away in between.
            self.apply_async(entry, producer=producer, advance=False)
        except SchedulingError as error:
            self._note_trouble(error)
        else:
            self._away = False

    def _note_trouble(self, error: Exception) -> None:
        """Once, until the broker is back."""
        if not self._away:
            self._away = True
            log.warning("broker_unavailable", error=str(error), next="the sweep is sent when it is back")

    def _waiting(self) -> int:
        with self.app.pool.acquire(block=True, timeout=5) as connection:
            return queue_depth(connection, SWEEPS)
