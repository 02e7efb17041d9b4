"""A shipment lost twice among others is isolated in a child that owns nothing else, and delays others briefly."""

import asyncio
from typing import Any

import pytest
from celery import Celery

from config.settings import Settings
from tasks.work.messages import IN_PROGRESS, MERCHANTS, Link, LinkClaim
from tests.factories.ledger_harness import Harness, is_isolated, references, until
from tests.factories.raw_api import hangs, listening
from tests.factories.worker_child import allocates_after, none_in_flight, serve, write_merchant_file
from worker.processes import claim_loop
from worker.processes.child import ChildRuntime
from worker.processes.in_flight import InFlight
from worker.processes.siblings import Siblings

ALONE = "allocation:isolated"


async def lost_twice(harness: Harness, merchant: str = "alone") -> None:
    """A shipment that must be isolated once its lease expires."""
    await harness.claim(merchant, "a")
    await harness.expire_leases(merchant)
    assert [is_isolated(claim) for claim in await harness.claim_all() if claim.merchant == merchant] == [False]


async def lose_again(harness: Harness) -> None:
    """The shipment is lost for the second time."""
    await harness.expire_leases("alone")
    await harness.ledger.notify_due()


def write_files(settings: Settings, url: str) -> None:
    """Merchant files of all merchants in use."""
    for merchant in ("alone", "other"):
        write_merchant_file(settings, url, merchant=merchant)


async def allocated(harness: Harness) -> int:
    """Number of allocated shipments."""
    return int(await harness.raw.xlen(harness.settings.allocated_stream))


async def losses(harness: Harness) -> list[Any]:
    """The shipment's fields about losses."""
    return list(await harness.raw.hmget("allocation:shipment:alone:a", "losses", "group_losses"))


async def reserved(harness: Harness) -> None:
    """Wait until a child is reserved for the shipment."""
    async with asyncio.timeout(10):
        while not await harness.raw.zcard(ALONE):  # noqa: ASYNC110  # what is waited for knows nothing of tests
            await asyncio.sleep(0.005)


async def test_it_is_settled(child: ChildRuntime, harness: Harness) -> None:
    """A child that owns nothing claims it at once, under a lease token that marks it as isolated, and settles it."""
    may_respond = asyncio.Event()
    async with listening(allocates_after(may_respond)) as api:
        write_files(harness.settings, api.url)
        await lost_twice(harness)
        await lose_again(harness)
        working = asyncio.create_task(serve(child))
        await until(lambda: bool(api.requests))
        assert (await harness.lease_token_of("alone", "a")).endswith(".a")
        may_respond.set()
        await working
    assert await allocated(harness) == 1


async def test_it_waits_for_an_empty_child(child: ChildRuntime, harness: Harness) -> None:
    """While the child owns something else, neither it nor anything else is claimed; it is, once the child is empty."""
    may_respond = asyncio.Event()
    async with listening(allocates_after(may_respond)) as api:
        write_files(harness.settings, api.url)
        await lost_twice(harness)
        await harness.accept("other", "x")
        working = asyncio.create_task(serve(child))
        await until(lambda: len(api.requests) == 1)
        await lose_again(harness)
        await reserved(harness)
        await harness.accept("other", "y")
        assert await harness.phase("alone", "a") == ""
        may_respond.set()
        await until(lambda: len(api.requests) == 3)
        await working
        await none_in_flight(child)
    assert [request.reference for request in api.requests] == ["x", "a", "y"]
    assert await allocated(harness) == 3


async def test_a_child_that_stays_full(child: ChildRuntime, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that does not become empty in time leaves it to others, without a loss."""
    monkeypatch.setattr(claim_loop, "EMPTY_WAIT_S", 0.1)
    async with listening(hangs) as api:
        write_files(harness.settings, api.url)
        await lost_twice(harness)
        before = await losses(harness)
        await harness.accept("other", "x")
        working = asyncio.create_task(serve(child))
        await until(lambda: len(api.requests) == 1)
        await lose_again(harness)
        await reserved(harness)
        await working
        await harness.expire_leases("other", 4e12)
        (claim,) = [each for each in await harness.claim_all() if each.merchant == "alone"]
    assert (is_isolated(claim), references(claim)) == (True, ["a"])
    assert (await losses(harness))[0] == before[0]


async def test_nothing_else_starts(child: ChildRuntime, harness: Harness) -> None:
    """While the child owns it, nothing else starts there: due shipments wait, and messages go to another child."""
    may_respond = asyncio.Event()
    async with listening(allocates_after(may_respond)) as api:
        write_files(harness.settings, api.url)
        claim = await harness.claim("other", "linked")
        await harness.report_of([claim.shipments[0].with_progress(step=1)], claim.lease_token, "hand")
        await lost_twice(harness)
        await lose_again(harness)
        working = asyncio.create_task(serve(child))
        await until(lambda: len(api.requests) == 1)
        await harness.accept("other", "x")
        link = Link(claims=(LinkClaim(claim.lease_token, "other", 1, ("linked",)),))
        assert await asyncio.to_thread(child.follow, link) is None
        assert await asyncio.to_thread(child.serve) is None
        assert [request.reference for request in api.requests] == ["a"]
        may_respond.set()
        await working
        await asyncio.to_thread(child.follow, link)
        await serve(child)
        await none_in_flight(child)
    assert await allocated(harness) == 3


async def test_waiting_callers_go_first() -> None:
    """A caller that waits for a reserved child starts before the next reservation, and counts from then on."""
    in_flight = InFlight(lambda: None, lambda: False)
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def link() -> None:
        async with in_flight.starting(10) as may_begin:
            assert may_begin
            begun.set()
            await may_end.wait()

    with in_flight.reserved():
        waiting = asyncio.create_task(link())
        await until(lambda: in_flight.is_awaited)
        assert in_flight.is_empty
    await begun.wait()
    assert (in_flight.is_awaited, in_flight.is_empty) == (False, False)
    may_end.set()
    await waiting
    assert in_flight.is_empty


async def test_a_child_that_shuts_down(app: Celery, settings: Settings, harness: Harness) -> None:
    """The child requeues the shipment: the call is open, and no loss is counted."""
    child = ChildRuntime(app, settings, Siblings(1))
    async with listening(hangs) as api:
        write_files(settings, api.url)
        await lost_twice(harness)
        await lose_again(harness)
        await serve(child)
        await until(lambda: bool(api.requests))
        await asyncio.to_thread(child.stop)
    (again,) = await harness.claim_all()
    (shipment,) = again.shipments
    assert (shipment.progress.open_kind, shipment.losses, is_isolated(again)) == ("unknown", 0, True)


async def test_one_without_a_file(child: ChildRuntime, harness: Harness) -> None:
    """A shipment that is parked at once leaves the child free for others."""
    async with listening() as api:
        write_merchant_file(harness.settings, api.url, merchant="other")
        await lost_twice(harness)
        await lose_again(harness)
        await harness.accept("other", "x")
        assert (await serve(child)).counts == {"allocated": 1, "parked": 1, IN_PROGRESS: 0, MERCHANTS: 2}
    assert await allocated(harness) == 1
