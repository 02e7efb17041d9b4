"""A call is recorded before it is sent, and until it is reported."""

from typing import Any

import pytest

from tasks.rules.shipment import Shipment
from tasks.work.ports import PermitRequest
from tests.factories.ledger_harness import Harness
from worker.ledger.leases import MAX_CALL_OF_LEASE


async def claim_again(harness: Harness) -> Shipment:
    """The one shipment after its lease expired, claimed by another task."""
    await harness.expire_leases("acme")
    (batch,) = await harness.claim_all()
    (held,) = batch.shipments
    return held


def is_open(held: Shipment) -> bool:
    """Whether a call may still take effect."""
    return held.progress.open_kind is not None


async def test_the_permit_records_the_call(harness: Harness) -> None:
    """The permit of a call writes its kind and time into the token; the permit of a read-back does not."""
    claim = await harness.claim("acme", "a")
    await harness.permit(claim.shipments[0], claim.lease_token, purpose="read")
    assert await harness.field("lease_tokens:acme", "a") == f"r:{claim.lease_token}:0"
    await harness.permit(claim.shipments[0], claim.lease_token)
    phase, lease_token_of, epoch, called = (await harness.field("lease_tokens:acme", "a")).split(":")
    assert (phase, lease_token_of, epoch) == ("c", claim.lease_token, "0")
    assert int(called) / 1000 == pytest.approx(harness.ledger.now(), abs=2)


async def test_a_delayed_call_is_recorded_with_its_time(harness: Harness) -> None:
    """A call that waits within the calls per second is recorded with the time at which it will be sent."""
    claim = await harness.claim("acme", "a", "b")
    permits = [await harness.permit(held, claim.lease_token, per_second=2.5) for held in claim.shipments]
    called = [int((await harness.field("lease_tokens:acme", held.reference)).split(":")[3]) for held in claim.shipments]
    assert permits[1].wait_s > 0.2
    assert called[1] - called[0] == pytest.approx(400, abs=2)


async def test_a_worker_lost_during_a_call(harness: Harness) -> None:
    """Its call is open, as if it had lasted as long as possible after its permit."""
    claim = await harness.claim("acme", "a")
    await harness.permit(claim.shipments[0], claim.lease_token)
    called = int((await harness.field("lease_tokens:acme", "a")).split(":")[3]) / 1000
    held = await claim_again(harness)
    longest_s = harness.settings.lease_seconds * MAX_CALL_OF_LEASE
    assert (held.progress.open_kind, held.progress.attempts) == ("unknown", 0)
    assert held.progress.open_at == pytest.approx(called + longest_s)
    assert held.progress.quiet_from == held.progress.open_at


@pytest.mark.parametrize("reads", [False, True])
async def test_a_worker_lost_without_a_call(harness: Harness, *, reads: bool) -> None:
    """A worker lost before its call or in a read-back leaves no open call."""
    claim = await harness.claim("acme", "a")
    if reads:
        await harness.permit(claim.shipments[0], claim.lease_token, purpose="read")
    assert await harness.phase("acme", "a") == "r"
    assert not is_open(await claim_again(harness))


async def test_it_survives_until_a_report(harness: Harness) -> None:
    """If further workers are lost before a read-back, the time of the lost call is unchanged."""
    claim = await harness.claim("acme", "a")
    await harness.permit(claim.shipments[0], claim.lease_token)
    first = await claim_again(harness)
    again = await claim_again(harness)
    assert is_open(again)
    assert again.progress.open_at == first.progress.open_at


async def test_a_report_moves_it_into_the_progress(harness: Harness) -> None:
    """From the first report on, the open call is part of the shipment's progress, and no longer a lost call."""
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
async def test_a_reported_call_is_not_lost(harness: Harness, verdict: Any) -> None:
    """Once its outcome is written, the loss of a worker opens no call."""
    claim = await harness.claim("acme", "a")
    await harness.permit(claim.shipments[0], claim.lease_token)
    await harness.report(claim, verdict)
    assert not is_open(await claim_again(harness))


async def test_a_bulk_call_is_recorded_for_each(harness: Harness) -> None:
    """A worker lost in a bulk call leaves an open call for each shipment."""
    claim = await harness.claim("acme", "a", "b", "c")
    requests = [PermitRequest(shipment=s, lease_token=claim.lease_token, purpose="allocate") for s in claim.shipments]
    await harness.ledger.permit_bulk(requests)
    await harness.expire_leases("acme")
    (batch,) = await harness.claim_all()
    assert [is_open(held) for held in batch.shipments] == [True] * 3


async def test_a_clock_that_was_set_back(harness: Harness) -> None:
    """A call with a time in the future, after the clock was set back, is over after the longest call from now."""
    claim = await harness.claim("acme", "a")
    await harness.permit(claim.shipments[0], claim.lease_token)
    await harness.raw.hset("allocation:lease_tokens:acme", "a", f"c:{claim.lease_token}:0:{10**15}")
    held = await claim_again(harness)
    longest_s = harness.settings.lease_seconds * MAX_CALL_OF_LEASE
    assert held.progress.open_at == pytest.approx(harness.ledger.now() + longest_s, abs=2)
