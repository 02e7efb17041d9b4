"""A call that may still take effect is known to the ledger before it goes out, and until somebody reports it."""

from typing import Any

import pytest

from tasks.rules.shipment import Shipment
from tasks.work.ports import PermitRequest
from tests.factories.ledger_harness import Harness
from worker.ledger.leases import MAX_CALL_OF_LEASE


async def taken_again(harness: Harness) -> Shipment:
    """The one shipment after its lease ran out, in another task's hands."""
    await harness.expire_leases("acme")
    (batch,) = await harness.claim_all()
    (held,) = batch.shipments
    return held


def is_open(held: Shipment) -> bool:
    """Whether a call may still take effect."""
    return held.progress.open_kind is not None


async def test_the_permit_notes_the_call(harness: Harness) -> None:
    """Before a call goes out its kind and its time are in the token; before a read-back they are not."""
    claim = await harness.claim("acme", "a")
    await harness.permit(claim.shipments[0], claim.lease_token, purpose="read")
    assert await harness.field("lease_tokens:acme", "a") == f"r:{claim.lease_token}:0"
    await harness.permit(claim.shipments[0], claim.lease_token)
    phase, lease_token_of, epoch, called = (await harness.field("lease_tokens:acme", "a")).split(":")
    assert (phase, lease_token_of, epoch) == ("c", claim.lease_token, "0")
    assert int(called) / 1000 == pytest.approx(harness.ledger.now(), abs=2)


async def test_a_call_that_waits_is_noted_for_its_time(harness: Harness) -> None:
    """A call that waits for its place within the calls per second is noted for the time at which it goes out."""
    claim = await harness.claim("acme", "a", "b")
    permits = [await harness.permit(held, claim.lease_token, per_second=2.5) for held in claim.shipments]
    called = [int((await harness.field("lease_tokens:acme", held.reference)).split(":")[3]) for held in claim.shipments]
    assert permits[1].wait_s > 0.2
    assert called[1] - called[0] == pytest.approx(400, abs=2)


async def test_a_worker_lost_during_a_call(harness: Harness) -> None:
    """Its call is open, as if it had lasted for as long as the longest one may after its permit."""
    claim = await harness.claim("acme", "a")
    await harness.permit(claim.shipments[0], claim.lease_token)
    called = int((await harness.field("lease_tokens:acme", "a")).split(":")[3]) / 1000
    held = await taken_again(harness)
    longest_s = harness.settings.lease_seconds * MAX_CALL_OF_LEASE
    assert (held.progress.open_kind, held.progress.attempts) == ("unknown", 0)
    assert held.progress.open_at == pytest.approx(called + longest_s)
    assert held.progress.quiet_from == held.progress.open_at


@pytest.mark.parametrize("reads", [False, True])
async def test_who_made_no_call_left_none_open(harness: Harness, *, reads: bool) -> None:
    """A worker lost before its call or in a read-back leaves nothing open."""
    claim = await harness.claim("acme", "a")
    if reads:
        await harness.permit(claim.shipments[0], claim.lease_token, purpose="read")
    assert await harness.phase("acme", "a") == "r"
    assert not is_open(await taken_again(harness))


async def test_it_survives_until_a_report(harness: Harness) -> None:
    """Further workers may be lost before anybody has read it back: the time of the lost call stays what it was."""
    claim = await harness.claim("acme", "a")
    await harness.permit(claim.shipments[0], claim.lease_token)
    first = await taken_again(harness)
    again = await taken_again(harness)
    assert is_open(again)
    assert again.progress.open_at == first.progress.open_at


async def test_a_report_puts_it_into_the_progress(harness: Harness) -> None:
    """From the first report on the open call is part of the shipment's progress, and no lost call any more."""
    claim = await harness.claim("acme", "a")
    await harness.permit(claim.shipments[0], claim.lease_token)
    await harness.expire_leases("acme")
    (again,) = await harness.claim_all()
    await harness.report(again, "park")
    assert await harness.field("shipment:acme:a", "lost_call_at") == "0"
    (batch,) = await harness.claim_all()
    (held,) = batch.shipments
    assert held.progress == again.shipments[0].progress


@pytest.mark.parametrize("verdict", ["keep", "park"])
async def test_a_call_that_was_reported_is_not_lost(harness: Harness, verdict: Any) -> None:
    """Once it is written what a call came to, the loss of a worker opens nothing: so a call withdraws its own mark."""
    claim = await harness.claim("acme", "a")
    await harness.permit(claim.shipments[0], claim.lease_token)
    await harness.report(claim, verdict)
    assert not is_open(await taken_again(harness))


async def test_a_common_call_is_noted_for_everybody(harness: Harness) -> None:
    """A worker lost in a call for many leaves an open call for each of them."""
    claim = await harness.claim("acme", "a", "b", "c")
    requests = [PermitRequest(shipment=s, lease_token=claim.lease_token, purpose="allocate") for s in claim.shipments]
    await harness.ledger.permit_bulk(requests)
    await harness.expire_leases("acme")
    (batch,) = await harness.claim_all()
    assert [is_open(held) for held in batch.shipments] == [True] * 3


async def test_a_clock_that_was_put_back(harness: Harness) -> None:
    """A call of a time that is still to come, by a clock that was put back, is over after the longest call from now."""
    claim = await harness.claim("acme", "a")
    await harness.permit(claim.shipments[0], claim.lease_token)
    await harness.raw.hset("allocation:lease_tokens:acme", "a", f"c:{claim.lease_token}:0:{10**15}")
    held = await taken_again(harness)
    longest_s = harness.settings.lease_seconds * MAX_CALL_OF_LEASE
    assert held.progress.open_at == pytest.approx(harness.ledger.now() + longest_s, abs=2)
