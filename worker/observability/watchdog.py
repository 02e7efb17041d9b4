"""Detects a process that is alive and makes no progress. It exits, and its supervisor restarts it."""

import time
from collections.abc import Callable

STALLED_S = 60.0
"""A process without progress for this long is stalled."""

CONSUMER_STALLED_S = 40.0
"""The same for a worker that receives no message although messages wait."""

LOOK_EVERY_S = 10.0

EXITS = "the process exits; its supervisor must restart it"


class Watchdog:
    """Knows when progress was last made. Seconds by a monotonic clock."""

    def __init__(self, stalled_s: float = STALLED_S, now: Callable[[], float] = time.monotonic) -> None:
        """Starts as if progress had just been made."""
        self._stalled_s = stalled_s
        self._now = now
        self._progress_at = now()

    def progress(self) -> None:
        """Note that progress was made."""
        self._progress_at = self._now()

    def is_stalled(self) -> bool:
        """Whether the last progress was longer ago than allowed."""
        return self._now() - self._progress_at > self._stalled_s


class ConsumptionWatchdog:
    """Detects a worker that is connected and does not consume, which some broker failures cause.

    Compares the queue's depth with the count of received messages.
    """

    def __init__(
        self,
        waiting: Callable[[], int],
        received: Callable[[], int],
        running: Callable[[], int],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`waiting`: messages in the queue; `received`: messages ever received; `running`: running tasks."""
        self._waiting = waiting
        self._received = received
        self._running = running
        self._now = now
        self._looked_at = float("-inf")
        self._watchdog = Watchdog(CONSUMER_STALLED_S, now)
        self._last_received = -1

    def is_stalled(self) -> bool:
        """Whether messages have been waiting while none was received and no child was busy."""
        if self._now() - self._looked_at < LOOK_EVERY_S:
            return False
        self._looked_at = self._now()
        received = self._received()
        if received != self._last_received or self._running() or not self._waiting():
            self._last_received = received
            self._watchdog.progress()
        return self._watchdog.is_stalled()
