"""The probe of an open breaker: one call at a time, taken only by who uses it, and given back by who did not."""

import asyncio
from typing import Any

import pytest

from tasks.work.ports import Claim, Permit, PermitRequest
from tests.factories.ledger_harness import Bench
from worker.ledger.leases import LONGEST_CALL_OF_LEASE

API = "api.example#1"
PROBE = f"allocation:probe:b:{API}"


async def asked(bench: Bench, claim: Claim, shipment: int = 0, **rest: Any) -> Permit:
    """Ask to call for one of the shipments."""
    return await bench.permit(claim.shipments[shipment], claim.lease_token, api=API, **rest)


@pytest.fixture
def claim(runner: asyncio.Runner, bench: Bench) -> Claim:
    """Ten shipments in a task's hands, whose API's breaker was open until a while ago."""
    claim = runner.run(bench.take("acme", *(f"sp_{n}" for n in range(10))))
    runner.run(bench.report(claim, "keep", api=API, answer="bad"))
    runner.run(bench.raw.hset("allocation:not_before", f"b:{API}", 1))
    return claim


async def test_who_must_wait_for_a_slot_is_no_probe(bench: Bench, claim: Claim) -> None:
    """A call that waits too long for its place within the calls per second leaves the probe to another."""
    await bench.raw.set("allocation:slot:acme", (bench.ledger.now() + 60) * 1000)
    permit = await asked(bench, claim, per_second=1.0)
    assert (permit.park, permit.wait_s > 50) == (True, True)
    assert not await bench.raw.exists(PROBE)
    assert (await asked(bench, claim, 1)).may_call


async def test_who_finds_no_place_is_no_probe(bench: Bench, claim: Claim) -> None:
    """A call for which there is no place in flight leaves the probe to another, and takes no slot."""
    await bench.raw.zadd("allocation:on_wire:acme", {"another": 4e12})
    permit = await asked(bench, claim, in_flight=1, per_second=1.0)
    assert (permit.owned, permit.busy, permit.may_call) == (True, True, False)
    assert await bench.raw.exists(PROBE, "allocation:slot:acme") == 0


async def test_who_is_told_to_wait_takes_nothing(bench: Bench, claim: Claim) -> None:
    """While another one is the probe nobody takes a slot or a place in flight."""
    await asked(bench, claim)
    assert (await asked(bench, claim, 1, in_flight=5, per_second=1.0)).park
    assert await bench.raw.exists("allocation:on_wire:acme", "allocation:slot:acme") == 0


async def test_a_probe_that_was_not_used(bench: Bench, claim: Claim) -> None:
    """Who reports without an answer gives the probe back, and the next one may try at once."""
    permit = await asked(bench, claim)
    assert (permit.place, (await asked(bench, claim, 1)).park) == (True, True)
    await bench.report_of(claim.shipments[:1], claim.lease_token, "park", api=API, place=True)
    assert (await asked(bench, claim, 1)).may_call


async def test_only_its_holder_gives_it_back(bench: Bench, claim: Claim) -> None:
    """A report of another shipment, or of another task, leaves the probe where it is."""
    await asked(bench, claim)
    await bench.report_of(claim.shipments[1:], claim.lease_token, "keep", api=API, place=True)
    await bench.report_of(claim.shipments[:1], "another", "keep", api=API, place=True)
    assert (await asked(bench, claim, 1)).park


async def test_the_probe_may_ask_again(bench: Bench, claim: Claim) -> None:
    """Whose request was not written in time asks for its permit again, and still is the probe."""
    assert (await asked(bench, claim)).place
    assert (await asked(bench, claim)).place


async def test_a_read_and_the_call_it_allows_are_one_probe(bench: Bench, claim: Claim) -> None:
    """A read-back is a probe like a call; the breaker is closed by its answer, so that the call may follow."""
    assert (await asked(bench, claim, purpose="read")).place
    reported = {"api": API, "answer": "good", "purpose": "read", "place": True}
    await bench.report_of(claim.shipments[:1], claim.lease_token, "keep", **reported)
    assert (await asked(bench, claim)).may_call


async def test_a_probe_that_is_lost(bench: Bench, claim: Claim) -> None:
    """A probe whose worker is lost holds up the others for as long as a call may last, and a little longer."""
    await asked(bench, claim)
    longest_ms = bench.settings.lease_seconds * LONGEST_CALL_OF_LEASE * 1000
    assert longest_ms < await bench.raw.pttl(PROBE) <= longest_ms + 5000


async def test_a_common_call_is_one_probe(bench: Bench, claim: Claim) -> None:
    """Of a call for many the first is the probe, and for every one of them the ledger notes that a call is out."""
    requests = [
        PermitRequest(shipment=s, lease_token=claim.lease_token, purpose="allocate", api=API) for s in claim.shipments
    ]
    permits = await bench.ledger.permit_bulk(requests)
    assert [permit.may_call for permit in permits] == [True] * 10
    assert [permit.place for permit in permits] == [True] + [False] * 9
    assert {await bench.phase("acme", held.reference) for held in claim.shipments} == {"c"}
