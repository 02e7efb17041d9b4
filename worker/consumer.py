"""Celery's consumer in the worker's parent, with the one thing changed that costs it most: how it tells Flower."""

import time

from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.common import ignore_errors

EVENTS_WITHIN_S = 0.25


class Consumer(CeleryConsumer):
    """Sends the events of tasks several at a time, at the latest after `EVENTS_WITHIN_S`.

    As it comes, Celery sends them at every turn of its loop, which is one message to Redis for nearly every event.
    """

    _flush_at = 0.0

    def on_send_event_buffered(self) -> None:
        """Flush soon; by the clock and not by a flag, as the loop's timers are lost with a connection."""
        if self.hub and time.monotonic() >= self._flush_at:
            self._flush_at = time.monotonic() + EVENTS_WITHIN_S
            self.hub.call_later(EVENTS_WITHIN_S, self._flush_events)

    def shutdown(self) -> None:
        """Tell of the last tasks too."""
        if self.connection:
            ignore_errors(self, self._flush_events)
        super().shutdown()
