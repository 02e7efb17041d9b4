"""A call that may still take effect is known to the ledger before it goes out, and until somebody reports it."""

from typing import Any

import pytest

from tasks.rules.shipment import Shipment
from tasks.work.ports import PermitRequest
from tests.factories.ledger_harness import Bench
from worker.ledger.leases import LONGEST_CALL_OF_LEASE


async def taken_again(bench: Bench) -> Shipment:
    """The one shipment after its lease ran out, in another task's hands."""
    await bench.end_leases("acme")
    (batch,) = await bench.take_all()
    (held,) = batch.shipments
    return held


def is_open(held: Shipment) -> bool:
    """Whether a call may still take effect."""
    return held.progress.open_kind is not None


async def test_the_permit_notes_the_call(bench: Bench) -> None:
    """Before a call goes out its kind and its time are in the token; before a read-back they are not."""
    claim = await bench.take("acme", "a")
    await bench.permit(claim.shipments[0], claim.lease_token, purpose="read")
    assert await bench.field("tokens:acme", "a") == f"r:{claim.lease_token}:0"
    await bench.permit(claim.shipments[0], claim.lease_token)
    phase, holder, changes, called = (await bench.field("tokens:acme", "a")).split(":")
    assert (phase, holder, changes) == ("c", claim.lease_token, "0")
    assert int(called) / 1000 == pytest.approx(bench.ledger.now(), abs=2)


async def test_a_call_that_waits_is_noted_for_its_time(bench: Bench) -> None:
    """A call that waits for its place within the calls per second is noted for the time at which it goes out."""
    claim = await bench.take("acme", "a", "b")
    permits = [await bench.permit(held, claim.lease_token, per_second=2.5) for held in claim.shipments]
    called = [int((await bench.field("tokens:acme", held.reference)).split(":")[3]) for held in claim.shipments]
    assert permits[1].wait_s > 0.2
    assert called[1] - called[0] == pytest.approx(400, abs=2)


async def test_a_worker_lost_during_a_call(bench: Bench) -> None:
    """Its call is open, as if it had lasted for as long as the longest one may after its permit."""
    claim = await bench.take("acme", "a")
    await bench.permit(claim.shipments[0], claim.lease_token)
    called = int((await bench.field("tokens:acme", "a")).split(":")[3]) / 1000
    held = await taken_again(bench)
    longest_s = bench.settings.lease_seconds * LONGEST_CALL_OF_LEASE
    assert (held.progress.open_kind, held.progress.attempts) == ("unknown", 0)
    assert held.progress.open_at == pytest.approx(called + longest_s)
    assert held.progress.quiet_from == held.progress.open_at


@pytest.mark.parametrize("reads", [False, True])
async def test_who_made_no_call_left_none_open(bench: Bench, *, reads: bool) -> None:
    """A worker lost before its call or in a read-back leaves nothing open."""
    claim = await bench.take("acme", "a")
    if reads:
        await bench.permit(claim.shipments[0], claim.lease_token, purpose="read")
    assert await bench.phase("acme", "a") == "r"
    assert not is_open(await taken_again(bench))


async def test_it_survives_until_a_report(bench: Bench) -> None:
    """Further workers may be lost before anybody has read it back: the time of the lost call stays what it was."""
    claim = await bench.take("acme", "a")
    await bench.permit(claim.shipments[0], claim.lease_token)
    first = await taken_again(bench)
    again = await taken_again(bench)
    assert is_open(again)
    assert again.progress.open_at == first.progress.open_at


async def test_a_report_puts_it_into_the_progress(bench: Bench) -> None:
    """From the first report on the open call is part of the shipment's progress, and no lost call any more."""
    claim = await bench.take("acme", "a")
    await bench.permit(claim.shipments[0], claim.lease_token)
    await bench.end_leases("acme")
    (again,) = await bench.take_all()
    await bench.report(again, "park")
    assert await bench.field("shipment:acme:a", "lost_call") == "0"
    (batch,) = await bench.take_all()
    (held,) = batch.shipments
    assert held.progress == again.shipments[0].progress


@pytest.mark.parametrize("verdict", ["keep", "park"])
async def test_a_call_that_was_reported_is_not_lost(bench: Bench, verdict: Any) -> None:
    """Once it is written what a call came to, the loss of a worker opens nothing: so a call withdraws its own mark."""
    claim = await bench.take("acme", "a")
    await bench.permit(claim.shipments[0], claim.lease_token)
    await bench.report(claim, verdict)
    assert not is_open(await taken_again(bench))


async def test_a_common_call_is_noted_for_everybody(bench: Bench) -> None:
    """A worker lost in a call for many leaves an open call for each of them."""
    claim = await bench.take("acme", "a", "b", "c")
    requests = [PermitRequest(shipment=s, lease_token=claim.lease_token, purpose="allocate") for s in claim.shipments]
    await bench.ledger.permit_bulk(requests)
    await bench.end_leases("acme")
    (batch,) = await bench.take_all()
    assert [is_open(held) for held in batch.shipments] == [True] * 3


async def test_a_clock_that_was_put_back(bench: Bench) -> None:
    """A call of a time that is still to come, by a clock that was put back, is over after the longest call from now."""
    claim = await bench.take("acme", "a")
    await bench.permit(claim.shipments[0], claim.lease_token)
    await bench.raw.hset("allocation:tokens:acme", "a", f"c:{claim.lease_token}:0:{10**15}")
    held = await taken_again(bench)
    longest_s = bench.settings.lease_seconds * LONGEST_CALL_OF_LEASE
    assert held.progress.open_at == pytest.approx(bench.ledger.now() + longest_s, abs=2)
