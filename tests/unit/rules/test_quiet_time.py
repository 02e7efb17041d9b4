"""Quiet time: its length, its read-backs, and the states that count in it."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.merchant_files.retry import Retry
from tasks.rules.progress import Progress
from tasks.rules.quiet_time import FIRST_READ_S, MAX_APART_S, decides_queued, is_quiet, next_read, quiet_end
from tests.factories.shipments import NOW, QUEUE_S, QUIET_S, open_call

MAX_READS = 10
LATENCIES = st.lists(st.floats(0, 36), min_size=1, max_size=40)


def opened_progress(kind: str = "unknown", **more: Any) -> Progress:
    """Progress with an open call that has just ended."""
    return Progress(**open_call(kind, **more))


@pytest.mark.parametrize(("kind", "seconds"), [("unknown", QUIET_S), ("queued", QUEUE_S)])
def test_length(kind: str, seconds: float) -> None:
    """Quiet time runs from the end of the call; after a queued response, queue time replaces it."""
    assert quiet_end(opened_progress(kind), Retry()) == NOW + seconds
    assert quiet_end(Progress(), Retry()) == 0


@pytest.mark.parametrize(("kind", "seconds"), [("unknown", QUIET_S), ("queued", QUEUE_S)])
def test_it_restarts_while_allocating(kind: str, seconds: float) -> None:
    """The last read-back that found `allocating` counts like the end of the call."""
    assert quiet_end(opened_progress(kind, quiet_from=NOW + 30), Retry()) == NOW + 30 + seconds


def test_the_time_of_sending_counts() -> None:
    """A read-back sent at the end of the quiet time is not within it, however late its response."""
    assert is_quiet(opened_progress(), Retry(), NOW + QUIET_S - 0.001)
    assert not is_quiet(opened_progress(), Retry(), NOW + QUIET_S)
    assert not is_quiet(Progress(), Retry(), NOW)


def sent_times(progress: Progress, retry: Retry, latencies: list[float], last_read: str = "unallocated") -> list[float]:
    """Times of the read-backs in seconds after the call, up to the first one after the quiet time."""
    times: list[float] = []
    now = progress.open_at
    while is_quiet(progress, retry, max(now, next_read(progress, retry))):
        now = max(now, next_read(progress, retry))
        times.append(now - progress.open_at)
        progress = replace(progress, read_at=now, last_read=last_read)
        now += latencies[len(times) % len(latencies)]
    return [*times, max(now, next_read(progress, retry)) - progress.open_at]


@given(st.floats(1, 3600), LATENCIES)
def test_ten_read_backs_at_most(quiet_s: float, latencies: list[float]) -> None:
    """For any quiet time and response times: at most ten read-backs, the last one after the end."""
    times = sent_times(opened_progress(), Retry(quiet_seconds=quiet_s), latencies)
    assert 2 <= len(times) <= MAX_READS
    assert times[-1] >= quiet_s


@given(st.floats(1, 3600))
def test_one_comes_right_after_the_end(quiet_s: float) -> None:
    """The first is due a moment after the call, each pause is longer than the last, and no wait passes the end."""
    times = sent_times(opened_progress(), Retry(quiet_seconds=quiet_s), [0.0])
    assert times[0] == pytest.approx(FIRST_READ_S, abs=1e-6)
    assert quiet_s <= times[-1] <= quiet_s + 0.01
    *pauses, _ = (later - earlier for earlier, later in pairwise([0.0, *times]))
    assert all(earlier < later for earlier, later in pairwise(pauses))


def test_a_short_quiet_time() -> None:
    """Even a second has a few read-backs, so that a late allocation is adopted soon."""
    assert len(sent_times(opened_progress(), Retry(quiet_seconds=1), [0.0])) >= 4


@given(st.floats(1, 3600), st.floats(0, 5000), LATENCIES)
def test_a_queued_shipment_is_read_every_minute(quiet_s: float, more_s: float, latencies: list[float]) -> None:
    """While it is in the API's queue, no pause is longer than a minute plus the response time."""
    retry = Retry(quiet_seconds=quiet_s, queue_seconds=quiet_s + more_s)
    times = sent_times(opened_progress("queued"), retry, latencies)
    longest_s = max(MAX_APART_S, *latencies) + 0.01
    assert all(later - earlier <= longest_s for earlier, later in pairwise(times))


def test_an_allocating_shipment_is_read_every_minute() -> None:
    """Whatever the response to the call, a shipment found `allocating` is read every minute."""
    at_it = opened_progress(read_at=NOW + 600, last_read="allocating", quiet_from=NOW + 600)
    retry = Retry(quiet_seconds=3600)
    assert next_read(at_it, retry) == NOW + 600 + MAX_APART_S
    assert next_read(replace(at_it, last_read="unallocated"), retry) > NOW + 600 + MAX_APART_S


@pytest.mark.parametrize(
    ("progress", "state", "expected"),
    [
        (open_call("queued", quiet_from=NOW + 1), "allocation_failed", True),
        (open_call("queued", read_before="unallocated"), "allocation_failed", True),
        (open_call("queued"), "allocation_failed", False),
        (open_call("queued", read_before="allocation_failed"), "allocation_failed", False),
        (open_call("queued", quiet_from=NOW + 1, read_before="unallocated"), "unallocated", False),
        (open_call("queued", quiet_from=NOW + 1, also_open=True), "allocation_failed", False),
        (open_call("unknown", quiet_from=NOW + 1, read_before="unallocated"), "allocation_failed", False),
        ({}, "allocation_failed", False),
    ],
)
def test_findings_that_decide_a_queued_call(progress: dict[str, Any], state: str, expected: bool) -> None:  # noqa: FBT001  # a row of the table
    """`allocation_failed` does, if the shipment was allocating or changed its state, and no other call is open."""
    assert decides_queued(Progress(**progress), state) is expected
