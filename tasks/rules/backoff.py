"""Backoff: pure functions of the try, a random number in [0, 1) and Retry-After. Seconds."""

SHORT_TRIES = 4
SHORT_FIRST_S = 0.1
SHORT_MOST_S = 1.0

PARK_FIRST_S = 2.0
PARK_MOST_S = 300.0
RETRY_AFTER_MOST_S = 3600.0


class RetryBudget:
    """Bounds further calls while an API responds badly: a tenth of the good responses, and a few.

    An outage then does not multiply calls: without budget a shipment is parked after its first bad response.
    """

    MOST = 20.0
    EARNED_BY_A_GOOD_CALL = 0.1

    def __init__(self) -> None:
        """Starts full."""
        self._left = self.MOST

    def earn(self) -> None:
        """Count a good response."""
        self._left = min(self.MOST, self._left + self.EARNED_BY_A_GOOD_CALL)

    def spend(self) -> bool:
        """Spend one call; false without budget."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


def short(tries: int, random: float) -> float | None:
    """The pause before the next call of the same visit (full jitter), or None to park the shipment."""
    if tries >= SHORT_TRIES:
        return None
    return random * min(SHORT_MOST_S, SHORT_FIRST_S * 2.0**tries)


def park(waits: int, random: float, retry_after_s: float | None = None) -> float:
    """How long a shipment is parked: growing with equal jitter, at least Retry-After."""
    bound = min(PARK_MOST_S, PARK_FIRST_S * 2.0 ** min(waits, 20))
    wait = bound * (0.5 + random / 2)
    return wait if retry_after_s is None else max(wait, min(retry_after_s, RETRY_AFTER_MOST_S))
