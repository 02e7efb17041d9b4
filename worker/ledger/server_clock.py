"""The Redis server's clock, estimated from round trips; all times of the ledger are by it."""

import time

from tasks.work.clock import boottime

JUMP_S = 1.0
"""A step of the server's clock by more than this counts as a change of the server."""

DRIFT = 0.0005
"""How far two clocks may drift apart, in seconds per second."""


class ServerClock:
    """Keeps bounds for the difference between the server's clock and this machine's.

    The server read its time between request and reply, so each round trip bounds the difference, and the tightest
    bounds are kept: neither a slow reply nor a process suspended in between misleads it. Until the first round trip
    this machine's clock is used.
    """

    def __init__(self) -> None:
        """Nothing is known yet."""
        ahead_s = time.time() - boottime()
        self._least_s, self._most_s = ahead_s, ahead_s
        self._read_at: float | None = None

    def now(self) -> float:
        """Seconds since the epoch, at the latest."""
        return boottime() + self._most_s

    def earliest(self) -> float:
        """Seconds since the epoch, at the earliest."""
        return boottime() + self._least_s

    def jumped(self, server_s: float, requested_at: float) -> bool:
        """Use the reply to a request sent at `requested_at`; whether the clock was changed since the last reply."""
        received_at = boottime()
        least_s, most_s = server_s - received_at, server_s - requested_at
        read_at, self._read_at = self._read_at, received_at
        if read_at is None:
            self._least_s, self._most_s = least_s, most_s
            return False
        drift_s = (received_at - read_at) * DRIFT
        known_least_s, known_most_s = self._least_s - drift_s, self._most_s + drift_s
        self._least_s, self._most_s = max(least_s, known_least_s), min(most_s, known_most_s)
        if self._least_s > self._most_s:
            self._least_s, self._most_s = least_s, most_s
        return least_s > known_most_s + JUMP_S or most_s < known_least_s - JUMP_S
