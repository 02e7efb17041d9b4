"""Loading a shipment after a lost worker or a change of the server since the last report."""

from dataclasses import replace

import pytest

from tasks.rules.progress import Progress
from tasks.rules.quiet_time import decides_queued
from tests.factories.records import loaded_shipment
from tests.factories.shipments import NOW, open_call

BEFORE = Progress(step=1, attempts=2, attempted=0, waits=4, last_read="unallocated", read_at=NOW - 9)
QUEUED = Progress(**open_call("queued", ago_s=100, read_before="unallocated", last_read="allocating"))


def ms(seconds: float) -> str:
    """A time as written by the ledger."""
    return str(round(seconds * 1000))


def test_the_call_of_a_lost_worker_is_open() -> None:
    """A call known only by its permit opens a quiet time from its latest possible end, but is no attempt."""
    found = loaded_shipment(BEFORE, lost_call_at=ms(NOW + 36), losses=b"2")
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


def test_the_call_of_a_lost_worker_may_be_a_repeat() -> None:
    """After an earlier open call it counts as a repeated call, so that its carrier is rechecked."""
    assert loaded_shipment(QUEUED, lost_call_at=ms(NOW)).progress.repeated_calls == 1
    assert loaded_shipment(BEFORE, lost_call_at=ms(NOW)).progress.repeated_calls == 0


def test_a_change_of_the_server_is_a_doubt() -> None:
    """The server may have forgotten a call: a quiet time from the change, but no attempt."""
    doubt = loaded_shipment(in_doubt_since=ms(NOW)).progress
    assert doubt == Progress(open_kind="unknown", open_at=NOW, quiet_from=NOW)
    assert loaded_shipment(in_doubt_since=b"0").progress == loaded_shipment(in_doubt_since=None).progress == Progress()


@pytest.mark.parametrize("ago_s", [0.0, 10.0])
def test_a_later_call_outlasts_the_change(ago_s: float) -> None:
    """An open call that ended after the change keeps its own quiet time."""
    later = Progress(**open_call(ago_s=0))
    assert loaded_shipment(later, in_doubt_since=ms(NOW - ago_s)).progress == later


def test_an_earlier_call_gets_a_new_quiet_time() -> None:
    """An unknown call from before the change is open as long as a forgotten one."""
    earlier = Progress(**open_call(ago_s=50, open_calls=3))
    found = loaded_shipment(earlier, in_doubt_since=ms(NOW)).progress
    assert (found.open_kind, found.open_at, found.quiet_from, found.open_calls) == ("unknown", NOW, NOW, 3)


def test_a_queued_call_keeps_the_longer_time() -> None:
    """A shipment in the API's queue stays there, and its failure does not count any more: another call may be open."""
    found = loaded_shipment(QUEUED, in_doubt_since=ms(NOW)).progress
    assert (found.open_kind, found.open_at, found.quiet_from, found.also_open) == ("queued", NOW, NOW, True)
    assert decides_queued(QUEUED, "allocation_failed")
    assert not decides_queued(replace(found, quiet_from=NOW + 5), "allocation_failed")
    assert not loaded_shipment(found).opened("queued", NOW + 99).progress.also_open


def test_a_lost_call_and_a_change() -> None:
    """The later one counts."""
    assert loaded_shipment(lost_call_at=ms(NOW - 5), in_doubt_since=ms(NOW)).progress.open_at == NOW
    assert loaded_shipment(lost_call_at=ms(NOW + 36), in_doubt_since=ms(NOW)).progress.open_at == NOW + 36
