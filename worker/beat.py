"""The scheduler of Celery beat: sends the sweep, but never a second one while the first still waits."""

from typing import Any

import structlog
from celery.beat import ScheduleEntry, Scheduler
from kombu.exceptions import OperationalError

from config.celery_options import SWEEPS

log = structlog.get_logger(__name__)


class SweepScheduler(Scheduler):
    """Keeps its schedule in memory (no file), as a sweep that comes twice or late does no harm."""

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:  # kombu's Producer
        """Send a due entry, unless the queue holds one already: while no worker runs, no messages pile up."""
        try:
            waiting = self._waiting()
        except (OperationalError, OSError) as error:
            log.warning("broker_away", error=str(error), next="the sweep is sent when it is back")
            return
        if not waiting:
            super().apply_entry(entry, producer=producer)

    def _waiting(self) -> int:
        with self.app.pool.acquire(block=True) as connection:
            return queue_depth(connection, SWEEPS)


def queue_depth(connection: Any, queue: str) -> int:  # kombu's Connection
    """How many messages wait in a queue of the broker; 0 when there is no such queue yet."""
    try:
        return int(connection.default_channel.queue_declare(queue, passive=True).message_count)
    except connection.channel_errors:
        return 0
