"""`in_flight` counts the calls on the wire, over all workers: reads and common calls too."""

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
    """Five shipments in a task's hands."""
    return runner.run(harness.claim("acme", *"abcde"))


async def asked(harness: Harness, claim: Claim, shipment: int = 0, **rest: Any) -> Permit:
    """Ask to call for one of the shipments, where two calls at once are welcome."""
    return await harness.permit(claim.shipments[shipment], claim.lease_token, **{"in_flight": 2, **rest})


async def test_no_more_calls_than_places(settings: Settings, harness: Harness, claim: Claim) -> None:
    """Whichever worker asks, and be it for a read-back, no more calls go out than the file says."""
    other = Harness(settings)
    permits = [
        await asked(harness, claim, 0),
        await asked(other, claim, 1, purpose="read"),
        await asked(other, claim, 2),
        await asked(harness, claim, 3, purpose="read"),
    ]
    await other.close()
    assert [permit.may_call for permit in permits] == [True, True, False, False]
    assert [permit.slot for permit in permits] == [True, True, False, False]
    assert [(permit.owned, permit.busy, permit.park) for permit in permits[2:]] == [(True, True, False)] * 2
    assert await harness.phase("acme", claim.shipments[2].reference) == "r"


@pytest.mark.parametrize("verdict", ["keep", "hand", "park", "allocated", "failed"])
async def test_a_report_gives_it_back(harness: Harness, claim: Claim, verdict: Any) -> None:
    """Whatever a call came to, its report makes room for another one."""
    for number in (0, 1):
        await asked(harness, claim, number)
    await harness.report_of(claim.shipments[:1], claim.lease_token, verdict, event="{}", reason="conflict", slot=True)
    assert (await asked(harness, claim, 2)).may_call


async def test_a_late_report_gives_it_back_too(harness: Harness, claim: Claim) -> None:
    """A task that lost the shipment meanwhile has ended its call all the same."""
    for number in (0, 1):
        await asked(harness, claim, number)
    await harness.expire_leases("acme")
    await harness.claim_all()
    assert await harness.report_of(claim.shipments[:1], claim.lease_token, "keep", slot=True) == [False]
    assert await harness.raw.zcard(ON_WIRE) == 1


async def test_who_asks_again_has_its_place(harness: Harness, claim: Claim) -> None:
    """The same task asks for the same shipment again, as its permit expired or quotes came first: in its own place."""
    assert [(await asked(harness, claim)).slot for _ in range(3)] == [True] * 3
    assert await harness.raw.zcard(ON_WIRE) == 1


async def test_a_place_of_a_lost_worker(harness: Harness, claim: Claim) -> None:
    """A place that nobody gives back is free after the longest call."""
    began = harness.ledger.now() * 1000
    await asked(harness, claim)
    until_ms = (await harness.raw.zrange(ON_WIRE, 0, -1, withscores=True))[0][1]
    longest_ms = harness.settings.lease_seconds * MAX_CALL_OF_LEASE * 1000
    assert until_ms == pytest.approx(began + longest_ms, abs=2000)
    await harness.raw.zadd(ON_WIRE, {"lost": 1, "lost too": 2})
    assert (await asked(harness, claim, 1)).may_call


async def test_who_lost_the_lease_gives_it_back(harness: Harness, claim: Claim) -> None:
    """A task that asks again after its lease ended has no call on the wire any more."""
    await asked(harness, claim)
    await harness.expire_leases("acme")
    await harness.claim_all()
    assert not (await asked(harness, claim)).owned
    assert await harness.raw.zcard(ON_WIRE) == 0


async def test_a_common_call_takes_one_place(harness: Harness, claim: Claim) -> None:
    """A call for many is one call, and none while there is no place; then none of them counts as called for."""
    first = PermitRequest(shipment=claim.shipments[0], lease_token=claim.lease_token, purpose="allocate", in_flight=1)
    rest = [first._replace(shipment=held, in_flight=0) for held in claim.shipments[1:3]]
    permits = await harness.ledger.permit_bulk([first, *rest])
    assert [permit.slot for permit in permits] == [True, False, False]
    assert await harness.raw.zcard(ON_WIRE) == 1
    (permit,) = await harness.ledger.permit_bulk([first._replace(shipment=claim.shipments[3])])
    assert (permit.busy, await harness.phase("acme", claim.shipments[3].reference)) == (True, "r")


async def test_a_read_of_what_nobody_holds(harness: Harness, claim: Claim) -> None:
    """A settled shipment may be read once more in a place in flight, as any call."""
    look = PermitRequest(shipment=claim.shipments[0], lease_token="host.looks", purpose="read", in_flight=1)
    await harness.report(claim, "allocated", event="{}")
    assert (await harness.ledger.may_read(look)).may_call
    assert (await harness.ledger.may_read(look._replace(lease_token="host.other"))).busy
    await harness.report_of(claim.shipments[:1], look.lease_token, "keep", slot=True)
    assert (await harness.ledger.may_read(look._replace(lease_token="host.other"))).may_call
