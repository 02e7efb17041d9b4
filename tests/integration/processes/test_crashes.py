"""What breaks in a worker child is no loss of it: others go on, and what it does beside is tried again."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from config.settings import Settings
from tests.factories.children import none_in_flight, serve, write
from tests.factories.ledger_harness import Bench, is_alone, until
from tests.factories.raw_api import listening
from worker.processes import dispatch_timer, periodic
from worker.processes.child import ChildRuntime
from worker.processes.siblings import Siblings


async def losses(bench: Bench, reference: str) -> list[Any]:
    """What is known of the losses of a shipment."""
    return list(await bench.raw.hmget(f"allocation:shipment:acme:{reference}", "company_lost", "lost", "lost_token"))


def breaking_for(reference: str, allocate: Callable[..., Any]) -> Callable[..., Any]:
    """A client with a bug that shows when this shipment was called for."""

    async def breaks(*asked: Any) -> Any:
        outcomes = await allocate(*asked)
        if reference in outcomes:
            raise RuntimeError("a bug")
        return outcomes

    return breaks


async def test_a_bug_on_a_way(child: ChildRuntime, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose way raises is handed back for later, with its call open; others go on, and nobody has lost a worker."""
    monkeypatch.setattr(child._api, "allocate", breaking_for("bad", child._api.allocate))
    # It is not to be taken again by itself.
    monkeypatch.setattr(dispatch_timer, "MOST_S", -1.0)
    async with listening() as api:
        write(bench.settings, api.url)
        await bench.accept("acme", "bad", "good")
        await serve(child)
        await none_in_flight(child)
    assert await bench.raw.xlen(bench.settings.allocated_stream) == 1
    await bench.end_waits("acme")
    (claim,) = await bench.take_all()
    assert await losses(bench, "bad") == [None, None, None]
    (held,) = claim.shipments
    assert (held.progress.open_kind, is_alone(claim)) == ("unknown", False)


async def test_what_cannot_be_begun(child: ChildRuntime, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """When work cannot even be begun, the shipments wait in the schedule, and nobody has lost a worker."""

    def breaks(_name: str) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(child._merchants, "account", breaks)
    await bench.accept("acme", "a", "b")
    await serve(child)
    assert child._in_flight.count() == 0
    assert await bench.raw.zcard("allocation:working:acme") == 0
    assert await bench.raw.zcard("allocation:waiting:acme") == 2
    assert await losses(bench, "a") == [None, None, None]


@pytest.mark.parametrize("seconds", [-3600, 3600])
async def test_a_heartbeat_notices_a_jump(
    app: Celery, settings: Settings, bench: Bench, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """A child that does nothing notices all the same that the server's clock was set."""
    monkeypatch.setattr(periodic, "BEAT_EVERY_S", 0.02)
    child = ChildRuntime(app, settings, Siblings(4))
    try:
        clock = child._ledger._clock
        await until(lambda: clock._read_at is not None)
        clock._least_s += seconds
        clock._most_s += seconds
        async with asyncio.timeout(10):
            while await bench.field("server", "changes") != "1":
                pass
    finally:
        await asyncio.to_thread(child.stop)


async def test_a_chore_that_fails_is_tried_again(
    app: Celery, settings: Settings, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error while renewing or beating does not end it: the leases are renewed the next time."""
    monkeypatch.setattr(periodic, "BEAT_EVERY_S", 0.02)
    await bench.raw.set("allocation:alive", "something else")
    child = ChildRuntime(app, settings, Siblings(4))
    try:
        await until(lambda: child._ledger is not None)
        await bench.raw.delete("allocation:alive")
        async with asyncio.timeout(10):
            while not await bench.raw.exists("allocation:alive"):
                pass
    finally:
        await asyncio.to_thread(child.stop)
