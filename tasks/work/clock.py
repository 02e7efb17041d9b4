"""A clock that counts the time during which the process or the machine is suspended."""

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Seconds since boot, including time during which the process is stopped or the machine is suspended."""
    return time.clock_gettime(_CLOCK)
