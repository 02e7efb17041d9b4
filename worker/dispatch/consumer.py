"""Celery's consumer in the worker's parent, with cheaper events for Flower."""

import time
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.common import ignore_errors

EVENTS_WITHIN_S = 0.25


class Consumer(CeleryConsumer):
    """Sends task events in groups, at the latest after `EVENTS_WITHIN_S`.

    By default Celery sends them in every iteration of its loop: one message to Redis for nearly every event.
    """

    hub: Any
    event_dispatcher: Any
    _flush_at = 0.0

    def on_send_event_buffered(self) -> None:  # type: ignore[override]  # the stubs mean another thing
        """Flush soon; by time and not by a flag, as the loop's timers are lost with a connection."""
        if self.hub and time.monotonic() >= self._flush_at:
            self._flush_at = time.monotonic() + EVENTS_WITHIN_S
            self.hub.call_later(EVENTS_WITHIN_S, self._flush)

    def _flush(self) -> None:
        if self.event_dispatcher:
            self.event_dispatcher.flush()

    def shutdown(self) -> None:
        """Send the last events too."""
        if self.connection:
            with ignore_errors(self.connection):
                self._flush()
        super().shutdown()
