"""The probe of an open breaker: one call at a time, used only by a permitted call, and returned if unused."""

import asyncio
from typing import Any

import pytest

from tasks.work.ports import Claim, Permit, PermitRequest
from tests.factories.ledger_harness import Harness
from worker.ledger.leases import MAX_CALL_OF_LEASE

API = "api.example#1"
PROBE = f"allocation:probe:b:{API}"


async def request_permit(harness: Harness, claim: Claim, shipment: int = 0, **rest: Any) -> Permit:
    """Request a permit for one of the shipments."""
    return await harness.permit(claim.shipments[shipment], claim.lease_token, api=API, **rest)


@pytest.fixture
def claim(runner: asyncio.Runner, harness: Harness) -> Claim:
    """Ten claimed shipments, whose API's breaker was open until a while ago."""
    claim = runner.run(harness.claim("acme", *(f"sp_{n}" for n in range(10))))
    runner.run(harness.report(claim, "keep", api=API, signal="bad"))
    runner.run(harness.raw.hset("allocation:blocked_until", f"b:{API}", 1))
    return claim


async def test_a_delayed_call_is_no_probe(harness: Harness, claim: Claim) -> None:
    """A call that waits too long within the calls per second leaves the probe to another."""
    await harness.raw.set("allocation:rate:acme", (harness.ledger.now() + 60) * 1000)
    permit = await request_permit(harness, claim, per_second=1.0)
    assert (permit.park, permit.wait_s > 50) == (True, True)
    assert not await harness.raw.exists(PROBE)
    assert (await request_permit(harness, claim, 1)).may_call


async def test_a_call_without_a_slot_is_no_probe(harness: Harness, claim: Claim) -> None:
    """A call without a free slot leaves the probe to another, and takes no turn within the calls per second."""
    await harness.raw.zadd("allocation:in_flight:acme", {"another": 4e12})
    permit = await request_permit(harness, claim, in_flight=1, per_second=1.0)
    assert (permit.owned, permit.busy, permit.may_call) == (True, True, False)
    assert await harness.raw.exists(PROBE, "allocation:rate:acme") == 0


async def test_a_waiting_call_takes_nothing(harness: Harness, claim: Claim) -> None:
    """While another call is the probe, a request takes neither a turn nor a slot."""
    await request_permit(harness, claim)
    assert (await request_permit(harness, claim, 1, in_flight=5, per_second=1.0)).park
    assert await harness.raw.exists("allocation:in_flight:acme", "allocation:rate:acme") == 0


async def test_an_unused_probe(harness: Harness, claim: Claim) -> None:
    """A report without a response returns the probe, and the next one may start at once."""
    permit = await request_permit(harness, claim)
    assert (permit.slot, (await request_permit(harness, claim, 1)).park) == (True, True)
    await harness.report_of(claim.shipments[:1], claim.lease_token, "park", api=API, slot=True)
    assert (await request_permit(harness, claim, 1)).may_call


async def test_only_its_owner_returns_it(harness: Harness, claim: Claim) -> None:
    """A report of another shipment, or of another task, does not return the probe."""
    await request_permit(harness, claim)
    await harness.report_of(claim.shipments[1:], claim.lease_token, "keep", api=API, slot=True)
    await harness.report_of(claim.shipments[:1], "another", "keep", api=API, slot=True)
    assert (await request_permit(harness, claim, 1)).park


async def test_the_probe_may_request_again(harness: Harness, claim: Claim) -> None:
    """A probe that was not written in time requests another permit, and is still the probe."""
    assert (await request_permit(harness, claim)).slot
    assert (await request_permit(harness, claim)).slot


async def test_a_read_back_and_its_call_are_one_probe(harness: Harness, claim: Claim) -> None:
    """A read-back is a probe like a call; its response closes the breaker, so that the call may follow."""
    assert (await request_permit(harness, claim, purpose="read")).slot
    reported = {"api": API, "signal": "good", "purpose": "read", "slot": True}
    await harness.report_of(claim.shipments[:1], claim.lease_token, "keep", **reported)
    assert (await request_permit(harness, claim)).may_call


async def test_a_lost_probe(harness: Harness, claim: Claim) -> None:
    """A probe whose worker is lost delays the others for as long as a call may last, and a little longer."""
    await request_permit(harness, claim)
    longest_ms = harness.settings.lease_seconds * MAX_CALL_OF_LEASE * 1000
    assert longest_ms < await harness.raw.pttl(PROBE) <= longest_ms + 5000


async def test_a_bulk_call_is_one_probe(harness: Harness, claim: Claim) -> None:
    """The first shipment of a bulk call is the probe, and the call is recorded for each of them."""
    requests = [
        PermitRequest(shipment=s, lease_token=claim.lease_token, purpose="allocate", api=API) for s in claim.shipments
    ]
    permits = await harness.ledger.permit_bulk(requests)
    assert [permit.may_call for permit in permits] == [True] * 10
    assert [permit.slot for permit in permits] == [True] + [False] * 9
    assert {await harness.phase("acme", held.reference) for held in claim.shipments} == {"c"}
