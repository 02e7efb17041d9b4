"""The Redis server's clock as round trips tell it; all times of the ledger are by it."""

import time

from tasks.work.clock import boottime

JUMP_S = 1.0
"""A step of the server's clock by more than this counts as a change of the server."""

DRIFT = 0.0005
"""How far two clocks may drift apart, in seconds per second."""


class ServerClock:
    """Keeps bounds for how far the server's clock is ahead of this machine's.

    The server's time was read after its question was asked and before its answer arrived, so each round trip bounds the
    difference, and the tightest bounds count: neither a slow answer nor a process that was stopped in the middle of one
    misleads it. Until the first round trip this machine's own clock is all there is.
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

    def jumped(self, server_s: float, asked: float) -> bool:
        """Take the server's answer to a question that was asked then; whether its clock was set since the last one."""
        call_record = boottime()
        least_s, most_s = server_s - call_record, server_s - asked
        read_at, self._read_at = self._read_at, call_record
        if read_at is None:
            self._least_s, self._most_s = least_s, most_s
            return False
        drift_s = (call_record - read_at) * DRIFT
        known_least_s, known_most_s = self._least_s - drift_s, self._most_s + drift_s
        self._least_s, self._most_s = max(least_s, known_least_s), min(most_s, known_most_s)
        if self._least_s > self._most_s:
            self._least_s, self._most_s = least_s, most_s
        return least_s > known_most_s + JUMP_S or most_s < known_least_s - JUMP_S
