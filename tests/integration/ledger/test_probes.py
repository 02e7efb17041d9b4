"""The probe of an open breaker: one call at a time, taken only by who uses it, and given back by who did not."""

import asyncio
from typing import Any

import pytest

from tasks.work.ports import Claim, Permit, PermitRequest
from tests.factories.ledger_harness import Harness
from worker.ledger.leases import MAX_CALL_OF_LEASE

API = "api.example#1"
PROBE = f"allocation:probe:b:{API}"


async def asked(harness: Harness, claim: Claim, shipment: int = 0, **rest: Any) -> Permit:
    """Ask to call for one of the shipments."""
    return await harness.permit(claim.shipments[shipment], claim.lease_token, api=API, **rest)


@pytest.fixture
def claim(runner: asyncio.Runner, harness: Harness) -> Claim:
    """Ten shipments in a task's hands, whose API's breaker was open until a while ago."""
    claim = runner.run(harness.claim("acme", *(f"sp_{n}" for n in range(10))))
    runner.run(harness.report(claim, "keep", api=API, signal="bad"))
    runner.run(harness.raw.hset("allocation:blocked_until", f"b:{API}", 1))
    return claim


async def test_who_must_wait_for_a_slot_is_no_probe(harness: Harness, claim: Claim) -> None:
    """A call that waits too long for its place within the calls per second leaves the probe to another."""
    await harness.raw.set("allocation:rate:acme", (harness.ledger.now() + 60) * 1000)
    permit = await asked(harness, claim, per_second=1.0)
    assert (permit.park, permit.wait_s > 50) == (True, True)
    assert not await harness.raw.exists(PROBE)
    assert (await asked(harness, claim, 1)).may_call


async def test_who_finds_no_place_is_no_probe(harness: Harness, claim: Claim) -> None:
    """A call for which there is no place in flight leaves the probe to another, and takes no slot."""
    await harness.raw.zadd("allocation:in_flight:acme", {"another": 4e12})
    permit = await asked(harness, claim, in_flight=1, per_second=1.0)
    assert (permit.owned, permit.busy, permit.may_call) == (True, True, False)
    assert await harness.raw.exists(PROBE, "allocation:rate:acme") == 0


async def test_who_is_told_to_wait_takes_nothing(harness: Harness, claim: Claim) -> None:
    """While another one is the probe nobody takes a slot or a place in flight."""
    await asked(harness, claim)
    assert (await asked(harness, claim, 1, in_flight=5, per_second=1.0)).park
    assert await harness.raw.exists("allocation:in_flight:acme", "allocation:rate:acme") == 0


async def test_a_probe_that_was_not_used(harness: Harness, claim: Claim) -> None:
    """Who reports without an answer gives the probe back, and the next one may try at once."""
    permit = await asked(harness, claim)
    assert (permit.slot, (await asked(harness, claim, 1)).park) == (True, True)
    await harness.report_of(claim.shipments[:1], claim.lease_token, "park", api=API, slot=True)
    assert (await asked(harness, claim, 1)).may_call


async def test_only_its_holder_gives_it_back(harness: Harness, claim: Claim) -> None:
    """A report of another shipment, or of another task, leaves the probe where it is."""
    await asked(harness, claim)
    await harness.report_of(claim.shipments[1:], claim.lease_token, "keep", api=API, slot=True)
    await harness.report_of(claim.shipments[:1], "another", "keep", api=API, slot=True)
    assert (await asked(harness, claim, 1)).park


async def test_the_probe_may_ask_again(harness: Harness, claim: Claim) -> None:
    """Whose request was not written in time asks for its permit again, and still is the probe."""
    assert (await asked(harness, claim)).slot
    assert (await asked(harness, claim)).slot


async def test_a_read_and_the_call_it_allows_are_one_probe(harness: Harness, claim: Claim) -> None:
    """A read-back is a probe like a call; the breaker is closed by its answer, so that the call may follow."""
    assert (await asked(harness, claim, purpose="read")).slot
    reported = {"api": API, "signal": "good", "purpose": "read", "slot": True}
    await harness.report_of(claim.shipments[:1], claim.lease_token, "keep", **reported)
    assert (await asked(harness, claim)).may_call


async def test_a_probe_that_is_lost(harness: Harness, claim: Claim) -> None:
    """A probe whose worker is lost holds up the others for as long as a call may last, and a little longer."""
    await asked(harness, claim)
    longest_ms = harness.settings.lease_seconds * MAX_CALL_OF_LEASE * 1000
    assert longest_ms < await harness.raw.pttl(PROBE) <= longest_ms + 5000


async def test_a_common_call_is_one_probe(harness: Harness, claim: Claim) -> None:
    """Of a call for many the first is the probe, and for every one of them the ledger notes that a call is out."""
    requests = [
        PermitRequest(shipment=s, lease_token=claim.lease_token, purpose="allocate", api=API) for s in claim.shipments
    ]
    permits = await harness.ledger.permit_bulk(requests)
    assert [permit.may_call for permit in permits] == [True] * 10
    assert [permit.slot for permit in permits] == [True] + [False] * 9
    assert {await harness.phase("acme", held.reference) for held in claim.shipments} == {"c"}
