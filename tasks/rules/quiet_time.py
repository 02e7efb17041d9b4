"""Quiet time: how long after an open call a shipment is only read back, and when. Seconds, by the ledger's clock."""

import math

from config.merchant_files.retry import Retry
from tasks.rules.progress import Progress

FIRST_READ_S = 0.1
MAX_APART_S = 60.0
"""A shipment that the API has in its queue is read at least this often."""

READS_BEFORE_THE_END = 9
"""Read-backs within a quiet time; one more comes right after it."""

CLEARED_S = 10.0
"""For how long a read-back that says "not allocated" allows a call, from its response on."""

_JUST_AFTER_S = 0.001


def quiet_end(progress: Progress, retry: Retry) -> float:
    """When the quiet time of the latest open call is over; 0 without one."""
    if progress.open_kind is None:
        return 0.0
    return progress.quiet_from + (retry.queue_s if progress.open_kind == "queued" else retry.quiet_s)


def is_quiet(progress: Progress, retry: Retry, sent: float) -> bool:
    """Whether a read-back that was sent then was sent within the quiet time."""
    return sent < quiet_end(progress, retry)


def next_read(progress: Progress, retry: Retry) -> float:
    """When the next read-back is due within the quiet time, the last one right after its end.

    The pauses grow from the call on, by the factor that reaches the end with `READS_BEFORE_THE_END` of them.
    """
    last, end = max(progress.read_at, progress.open_at), quiet_end(progress, retry)
    pause = FIRST_READ_S + (last - progress.open_at) * (_growth(retry.quiet_s) - 1)
    if progress.open_kind == "queued" or progress.last_read == "allocating":
        pause = min(pause, MAX_APART_S)
    return min(last + pause, end + _JUST_AFTER_S)


def _growth(quiet_s: float) -> float:
    return max(2.0, math.pow(quiet_s / FIRST_READ_S, 1 / READS_BEFORE_THE_END))


def decides_queued(progress: Progress, state: str) -> bool:
    """Whether a read-back decides a queued call, also before its time is over.

    `allocation_failed` does if the API was seen at it, or if the state was another one before the call; else it may be
    the state that the previous step left. Nor does it while another call may be open.
    """
    if progress.open_kind != "queued" or progress.also_open or state != "allocation_failed":
        return False
    return progress.quiet_from > progress.open_at or progress.read_before == "unallocated"
