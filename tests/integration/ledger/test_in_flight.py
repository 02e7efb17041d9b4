"""`in_flight` limits calls in flight over all workers, including read-backs and bulk calls."""

import asyncio
from typing import Any

import pytest

from config.settings import Settings
from tasks.work.ports import Claim, Permit, PermitRequest
from tests.factories.ledger_harness import Harness
from worker.ledger.leases import MAX_CALL_OF_LEASE

ON_WIRE = "allocation:in_flight:acme"


@pytest.fixture
def claim(runner: asyncio.Runner, harness: Harness) -> Claim:
    """Five claimed shipments."""
    return runner.run(harness.claim("acme", *"abcde"))


async def request_permit(harness: Harness, claim: Claim, shipment: int = 0, **rest: Any) -> Permit:
    """Request a permit for one of the shipments, with two calls in flight allowed."""
    return await harness.permit(claim.shipments[shipment], claim.lease_token, **{"in_flight": 2, **rest})


async def test_calls_are_limited_by_slots(settings: Settings, harness: Harness, claim: Claim) -> None:
    """For any worker, and for read-backs too, at most the configured number of calls is in flight."""
    other = Harness(settings)
    permits = [
        await request_permit(harness, claim, 0),
        await request_permit(other, claim, 1, purpose="read"),
        await request_permit(other, claim, 2),
        await request_permit(harness, claim, 3, purpose="read"),
    ]
    await other.close()
    assert [permit.may_call for permit in permits] == [True, True, False, False]
    assert [permit.slot for permit in permits] == [True, True, False, False]
    assert [(permit.owned, permit.busy, permit.park) for permit in permits[2:]] == [(True, True, False)] * 2
    assert await harness.phase("acme", claim.shipments[2].reference) == "r"


@pytest.mark.parametrize("verdict", ["keep", "hand", "park", "allocated", "failed"])
async def test_a_report_returns_the_slot(harness: Harness, claim: Claim, verdict: Any) -> None:
    """Whatever the outcome of a call, its report frees a slot."""
    for number in (0, 1):
        await request_permit(harness, claim, number)
    await harness.report_of(claim.shipments[:1], claim.lease_token, verdict, event="{}", reason="conflict", slot=True)
    assert (await request_permit(harness, claim, 2)).may_call


async def test_a_late_report_returns_it_too(harness: Harness, claim: Claim) -> None:
    """The call of a task that lost the shipment has ended as well."""
    for number in (0, 1):
        await request_permit(harness, claim, number)
    await harness.expire_leases("acme")
    await harness.claim_all()
    assert await harness.report_of(claim.shipments[:1], claim.lease_token, "keep", slot=True) == [False]
    assert await harness.raw.zcard(ON_WIRE) == 1


async def test_a_repeated_request_keeps_its_slot(harness: Harness, claim: Claim) -> None:
    """If a task requests another permit for the same shipment, after expiry or after quotes, it keeps its slot."""
    assert [(await request_permit(harness, claim)).slot for _ in range(3)] == [True] * 3
    assert await harness.raw.zcard(ON_WIRE) == 1


async def test_the_slot_of_a_lost_worker(harness: Harness, claim: Claim) -> None:
    """A slot that is not returned is free after the longest call."""
    began = harness.ledger.now() * 1000
    await request_permit(harness, claim)
    until_ms = (await harness.raw.zrange(ON_WIRE, 0, -1, withscores=True))[0][1]
    longest_ms = harness.settings.lease_seconds * MAX_CALL_OF_LEASE * 1000
    assert until_ms == pytest.approx(began + longest_ms, abs=2000)
    await harness.raw.zadd(ON_WIRE, {"lost": 1, "lost too": 2})
    assert (await request_permit(harness, claim, 1)).may_call


async def test_a_task_without_a_lease_returns_it(harness: Harness, claim: Claim) -> None:
    """A task that requests a permit after its lease expired has no call in flight any more."""
    await request_permit(harness, claim)
    await harness.expire_leases("acme")
    await harness.claim_all()
    assert not (await request_permit(harness, claim)).owned
    assert await harness.raw.zcard(ON_WIRE) == 0


async def test_a_bulk_call_takes_one_slot(harness: Harness, claim: Claim) -> None:
    """A bulk call takes one slot, and is not permitted without a free one; then none of its shipments is marked."""
    first = PermitRequest(shipment=claim.shipments[0], lease_token=claim.lease_token, purpose="allocate", in_flight=1)
    rest = [first._replace(shipment=held, in_flight=0) for held in claim.shipments[1:3]]
    permits = await harness.ledger.permit_bulk([first, *rest])
    assert [permit.slot for permit in permits] == [True, False, False]
    assert await harness.raw.zcard(ON_WIRE) == 1
    (permit,) = await harness.ledger.permit_bulk([first._replace(shipment=claim.shipments[3])])
    assert (permit.busy, await harness.phase("acme", claim.shipments[3].reference)) == (True, "r")


async def test_a_recheck_takes_a_slot(harness: Harness, claim: Claim) -> None:
    """A read-back of a settled shipment takes a slot like any call."""
    recheck = PermitRequest(shipment=claim.shipments[0], lease_token="host.recheck", purpose="read", in_flight=1)
    await harness.report(claim, "allocated", event="{}")
    assert (await harness.ledger.may_read(recheck)).may_call
    assert (await harness.ledger.may_read(recheck._replace(lease_token="host.other"))).busy
    await harness.report_of(claim.shipments[:1], recheck.lease_token, "keep", slot=True)
    assert (await harness.ledger.may_read(recheck._replace(lease_token="host.other"))).may_call
