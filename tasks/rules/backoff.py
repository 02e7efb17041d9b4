"""How long to wait: pure functions of the try, a random number in [0, 1) and what the API asked for. Seconds."""

SHORT_TRIES = 4
SHORT_FIRST_S = 0.1
SHORT_MOST_S = 1.0

PARK_FIRST_S = 2.0
PARK_MOST_S = 300.0
RETRY_AFTER_MOST_S = 3600.0


class RetryBudget:
    """How many further calls may be made at once while an API answers badly: a tenth of the good ones, and a few.

    So that an outage does not multiply calls: without budget a shipment is parked at its first bad answer.
    """

    MOST = 20.0
    EARNED_BY_A_GOOD_CALL = 0.1

    def __init__(self) -> None:
        """Begins full."""
        self._left = self.MOST

    def earn(self) -> None:
        """Note a good answer."""
        self._left = min(self.MOST, self._left + self.EARNED_BY_A_GOOD_CALL)

    def spend(self) -> bool:
        """Whether one more call can be afforded now."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


def short(tries: int, random: float) -> float | None:
    """The pause before the next call of the same visit (full jitter), or None when the shipment should be parked."""
    if tries >= SHORT_TRIES:
        return None
    return random * min(SHORT_MOST_S, SHORT_FIRST_S * 2.0**tries)


def park(waits: int, random: float, retry_after_s: float | None = None) -> float:
    """How long a shipment is parked: growing, at least half of each bound, never sooner than the API asked."""
    bound = min(PARK_MOST_S, PARK_FIRST_S * 2.0 ** min(waits, 20))
    wait = bound * (0.5 + random / 2)
    return wait if retry_after_s is None else max(wait, min(retry_after_s, RETRY_AFTER_MOST_S))
