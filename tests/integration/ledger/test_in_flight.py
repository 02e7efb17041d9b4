"""`in_flight` counts the calls on the wire, over all workers: reads and common calls too."""

import asyncio
from typing import Any

import pytest

from config.settings import Settings
from tasks.work.ports import Claim, Permit, PermitRequest
from tests.factories.ledger_harness import Bench
from worker.ledger.leases import LONGEST_CALL_OF_LEASE

ON_WIRE = "allocation:on_wire:acme"


@pytest.fixture
def claim(runner: asyncio.Runner, bench: Bench) -> Claim:
    """Five shipments in a task's hands."""
    return runner.run(bench.take("acme", *"abcde"))


async def asked(bench: Bench, claim: Claim, shipment: int = 0, **rest: Any) -> Permit:
    """Ask to call for one of the shipments, where two calls at once are welcome."""
    return await bench.permit(claim.shipments[shipment], claim.lease_token, **{"in_flight": 2, **rest})


async def test_no_more_calls_than_places(settings: Settings, bench: Bench, claim: Claim) -> None:
    """Whichever worker asks, and be it for a read-back, no more calls go out than the file says."""
    other = Bench(settings)
    permits = [
        await asked(bench, claim, 0),
        await asked(other, claim, 1, purpose="read"),
        await asked(other, claim, 2),
        await asked(bench, claim, 3, purpose="read"),
    ]
    await other.close()
    assert [permit.may_call for permit in permits] == [True, True, False, False]
    assert [permit.place for permit in permits] == [True, True, False, False]
    assert [(permit.owned, permit.busy, permit.park) for permit in permits[2:]] == [(True, True, False)] * 2
    assert await bench.phase("acme", claim.shipments[2].reference) == "r"


@pytest.mark.parametrize("verdict", ["keep", "hand", "park", "allocated", "failed"])
async def test_a_report_gives_it_back(bench: Bench, claim: Claim, verdict: Any) -> None:
    """Whatever a call came to, its report makes room for another one."""
    for number in (0, 1):
        await asked(bench, claim, number)
    await bench.report_of(claim.shipments[:1], claim.lease_token, verdict, event="{}", reason="conflict", place=True)
    assert (await asked(bench, claim, 2)).may_call


async def test_a_late_report_gives_it_back_too(bench: Bench, claim: Claim) -> None:
    """A task that lost the shipment meanwhile has ended its call all the same."""
    for number in (0, 1):
        await asked(bench, claim, number)
    await bench.end_leases("acme")
    await bench.take_all()
    assert await bench.report_of(claim.shipments[:1], claim.lease_token, "keep", place=True) == [False]
    assert await bench.raw.zcard(ON_WIRE) == 1


async def test_who_asks_again_has_its_place(bench: Bench, claim: Claim) -> None:
    """The same task asks for the same shipment again, as its permit expired or quotes came first: in its own place."""
    assert [(await asked(bench, claim)).place for _ in range(3)] == [True] * 3
    assert await bench.raw.zcard(ON_WIRE) == 1


async def test_a_place_of_a_lost_worker(bench: Bench, claim: Claim) -> None:
    """A place that nobody gives back is free after the longest call."""
    began = bench.ledger.now() * 1000
    await asked(bench, claim)
    until_ms = (await bench.raw.zrange(ON_WIRE, 0, -1, withscores=True))[0][1]
    longest_ms = bench.settings.lease_seconds * LONGEST_CALL_OF_LEASE * 1000
    assert until_ms == pytest.approx(began + longest_ms, abs=2000)
    await bench.raw.zadd(ON_WIRE, {"lost": 1, "lost too": 2})
    assert (await asked(bench, claim, 1)).may_call


async def test_who_lost_the_lease_gives_it_back(bench: Bench, claim: Claim) -> None:
    """A task that asks again after its lease ended has no call on the wire any more."""
    await asked(bench, claim)
    await bench.end_leases("acme")
    await bench.take_all()
    assert not (await asked(bench, claim)).owned
    assert await bench.raw.zcard(ON_WIRE) == 0


async def test_a_common_call_takes_one_place(bench: Bench, claim: Claim) -> None:
    """A call for many is one call, and none while there is no place; then none of them counts as called for."""
    first = PermitRequest(shipment=claim.shipments[0], lease_token=claim.lease_token, purpose="allocate", in_flight=1)
    rest = [first._replace(shipment=held, in_flight=0) for held in claim.shipments[1:3]]
    permits = await bench.ledger.permit_bulk([first, *rest])
    assert [permit.place for permit in permits] == [True, False, False]
    assert await bench.raw.zcard(ON_WIRE) == 1
    (permit,) = await bench.ledger.permit_bulk([first._replace(shipment=claim.shipments[3])])
    assert (permit.busy, await bench.phase("acme", claim.shipments[3].reference)) == (True, "r")


async def test_a_read_of_what_nobody_holds(bench: Bench, claim: Claim) -> None:
    """A settled shipment may be read once more in a place in flight, as any call."""
    look = PermitRequest(shipment=claim.shipments[0], lease_token="host.looks", purpose="read", in_flight=1)
    await bench.report(claim, "allocated", event="{}")
    assert (await bench.ledger.may_read(look)).may_call
    assert (await bench.ledger.may_read(look._replace(lease_token="host.other"))).busy
    await bench.report_of(claim.shipments[:1], look.lease_token, "keep", place=True)
    assert (await bench.ledger.may_read(look._replace(lease_token="host.other"))).may_call
