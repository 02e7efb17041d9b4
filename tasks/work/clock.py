"""A clock for what must be judged across a standstill of the process or the machine."""

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Seconds since the machine started; goes on while the process is stopped and while the machine is suspended."""
    return time.clock_gettime(_CLOCK)
