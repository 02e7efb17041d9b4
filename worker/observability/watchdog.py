"""Detects a worker that is connected and does not consume, which some broker failures cause."""

import time
from collections.abc import Callable

LOOK_EVERY_S = 10.0
STALLED_S = 40.0


class ConsumptionWatchdog:
    """Compares the queue's depth with the count of received messages."""

    def __init__(self, waiting: Callable[[], int], received: Callable[[], int], running: Callable[[], int]) -> None:
        """`waiting`: messages in the queue; `received`: messages ever received; `running`: running tasks."""
        self._waiting = waiting
        self._received = received
        self._running = running
        self._looked_at = 0.0
        self._moved_at = time.monotonic()
        self._last_received = -1

    def is_stalled(self) -> bool:
        """Whether messages have been waiting while none was received and no child was busy."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return False
        self._looked_at = now
        received = self._received()
        if received != self._last_received or self._running() or not self._waiting():
            self._last_received = received
            self._moved_at = now
        return now - self._moved_at > STALLED_S
