"""Errors in a worker child do not end it: other shipments are worked on, and periodic jobs are retried."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from config.settings import Settings
from tests.factories.ledger_harness import Harness, is_isolated, until
from tests.factories.raw_api import listening
from tests.factories.worker_child import none_in_flight, serve, write_merchant_file
from worker.processes import dispatch_timer, periodic
from worker.processes.child import ChildRuntime
from worker.processes.siblings import Siblings


async def losses(harness: Harness, reference: str) -> list[Any]:
    """A shipment's fields about losses."""
    return list(
        await harness.raw.hmget(f"allocation:shipment:acme:{reference}", "group_losses", "losses", "lost_token")
    )


def breaking_for(reference: str, allocate: Callable[..., Any]) -> Callable[..., Any]:
    """An API client with a bug that shows after this shipment was called for."""

    async def fails(*arguments: Any) -> Any:
        outcomes = await allocate(*arguments)
        if reference in outcomes:
            raise RuntimeError("a bug")
        return outcomes

    return fails


async def test_a_bug_in_the_work_on_a_shipment(
    child: ChildRuntime, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shipment whose work raises is parked with its call open; others are settled, and no loss is counted."""
    monkeypatch.setattr(child._api, "allocate", breaking_for("bad", child._api.allocate))
    # No timer may start a claim loop for it.
    monkeypatch.setattr(dispatch_timer, "MAX_S", -1.0)
    async with listening() as api:
        write_merchant_file(harness.settings, api.url)
        await harness.accept("acme", "bad", "good")
        await serve(child)
        await none_in_flight(child)
    assert await harness.raw.xlen(harness.settings.allocated_stream) == 1
    await harness.make_due("acme")
    (claim,) = await harness.claim_all()
    assert await losses(harness, "bad") == [None, None, None]
    (shipment,) = claim.shipments
    assert (shipment.progress.open_kind, is_isolated(claim)) == ("unknown", False)


async def test_a_batch_that_cannot_be_started(
    child: ChildRuntime, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a batch cannot be started, its shipments are parked, and no loss is counted."""

    def fails(_name: str) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(child._merchants, "account", fails)
    await harness.accept("acme", "a", "b")
    await serve(child)
    assert child._in_flight.count() == 0
    assert await harness.raw.zcard("allocation:working:acme") == 0
    assert await harness.raw.zcard("allocation:schedule:acme") == 2
    assert await losses(harness, "a") == [None, None, None]


@pytest.mark.parametrize("seconds", [-3600, 3600])
async def test_a_heartbeat_notices_a_jump(
    app: Celery, settings: Settings, harness: Harness, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """An idle child also notices that the server's clock was set."""
    monkeypatch.setattr(periodic, "HEARTBEAT_EVERY_S", 0.02)
    child = ChildRuntime(app, settings, Siblings(4))
    try:
        clock = child._ledger._clock
        await until(lambda: clock._read_at is not None)
        clock._least_s += seconds
        clock._most_s += seconds
        async with asyncio.timeout(10):
            while await harness.field("server", "epoch") != "1":
                pass
    finally:
        await asyncio.to_thread(child.stop)


async def test_a_periodic_job_that_fails_is_retried(
    app: Celery, settings: Settings, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in renewing or heartbeats does not end the job: the leases are renewed the next time."""
    monkeypatch.setattr(periodic, "HEARTBEAT_EVERY_S", 0.02)
    await harness.raw.set("allocation:heartbeats", "something else")
    child = ChildRuntime(app, settings, Siblings(4))
    try:
        await until(lambda: child._ledger is not None)
        await harness.raw.delete("allocation:heartbeats")
        async with asyncio.timeout(10):
            while not await harness.raw.exists("allocation:heartbeats"):
                pass
    finally:
        await asyncio.to_thread(child.stop)
