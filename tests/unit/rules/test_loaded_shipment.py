"""What a task finds that happened since the last report: a worker lost with a call out, a change of the server."""

from dataclasses import replace

import pytest

from tasks.rules.progress import Progress
from tasks.rules.quiet_time import decides_queued
from tests.factories.records import taken_up
from tests.factories.shipments import NOW, opened

BEFORE = Progress(step=1, attempts=2, attempted=0, waits=4, last_read="unallocated", read_at=NOW - 9)
QUEUED = Progress(**opened("queued", ago_s=100, read_before="unallocated", last_read="allocating"))


def ms(seconds: float) -> str:
    """A time as the ledger writes it."""
    return str(round(seconds * 1000))


def test_the_call_of_a_lost_worker_is_open() -> None:
    """A call known only by its permit opens a quiet time, which runs from its latest end, but is no attempt."""
    found = taken_up(BEFORE, lost_call_at=ms(NOW + 36), losses=b"2")
    expected = replace(
        BEFORE,
        open_kind="unknown",
        open_at=NOW + 36,
        quiet_from=NOW + 36,
        attempted=1,
        waits=0,
        read_before="unallocated",
        last_read=None,
        read_at=0.0,
    )
    assert (found.progress, found.losses) == (expected, 2)


def test_the_call_of_a_lost_worker_may_have_asked_again() -> None:
    """After an earlier open call it counts as one that asked again, so that its carrier is looked at once more."""
    assert taken_up(QUEUED, lost_call_at=ms(NOW)).progress.repeated_calls == 1
    assert taken_up(BEFORE, lost_call_at=ms(NOW)).progress.repeated_calls == 0


def test_a_change_of_the_server_leaves_a_doubt() -> None:
    """A call may have gone out that nobody remembers: a quiet time from the change, but no attempt."""
    doubt = taken_up(in_doubt_since=ms(NOW)).progress
    assert doubt == Progress(open_kind="unknown", open_at=NOW, quiet_from=NOW)
    assert taken_up(in_doubt_since=b"0").progress == taken_up(in_doubt_since=None).progress == Progress()


@pytest.mark.parametrize("ago_s", [0.0, 10.0])
def test_a_later_call_outlasts_the_change(ago_s: float) -> None:
    """An open call that ended after the change has its own quiet time."""
    later = Progress(**opened(ago_s=0))
    assert taken_up(later, in_doubt_since=ms(NOW - ago_s)).progress == later


def test_an_earlier_call_gets_a_new_quiet_time() -> None:
    """An unknown call from before the change is open as long as one that nobody remembers."""
    earlier = Progress(**opened(ago_s=50, open_calls=3))
    found = taken_up(earlier, in_doubt_since=ms(NOW)).progress
    assert (found.open_kind, found.open_at, found.quiet_from, found.open_calls) == ("unknown", NOW, NOW, 3)


def test_a_queued_call_keeps_the_longer_time() -> None:
    """A shipment in the API's queue stays there, and its failure decides nothing any more: another call may be open."""
    found = taken_up(QUEUED, in_doubt_since=ms(NOW)).progress
    assert (found.open_kind, found.open_at, found.quiet_from, found.also_open) == ("queued", NOW, NOW, True)
    assert decides_queued(QUEUED, "allocation_failed")
    assert not decides_queued(replace(found, quiet_from=NOW + 5), "allocation_failed")
    assert not taken_up(found).opened("queued", NOW + 99).progress.also_open


def test_a_lost_call_and_a_change() -> None:
    """Whichever came last counts."""
    assert taken_up(lost_call_at=ms(NOW - 5), in_doubt_since=ms(NOW)).progress.open_at == NOW
    assert taken_up(lost_call_at=ms(NOW + 36), in_doubt_since=ms(NOW)).progress.open_at == NOW + 36
