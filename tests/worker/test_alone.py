"""A shipment that was lost twice in company gets a child that owns nothing else, and holds nobody up for ever."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

from config.settings import Settings
from tasks.ports import Handover
from tests.worker.bench import Bench, until
from tests.worker.children import allocates_after, write
from tests.worker.raw_api import allocates, hangs, listening
from worker import runtime
from worker.runtime import ChildRuntime


async def handed_out(bench: Bench, merchant: str, reference: str) -> Handover:
    """A message with one new shipment."""
    await bench.accept(merchant, reference)
    (batch,) = [batch for batch in await bench.claim_all() if batch.merchant == merchant]
    return batch


async def handed_out_alone(bench: Bench, merchant: str = "alone") -> Handover:
    """A message with a shipment that was lost twice."""
    batch = await handed_out(bench, merchant, "a")
    for _ in range(2):
        await bench.ledger.take(batch)
        await bench.end_leases(merchant)
        (batch,) = await bench.claim_all()
    assert batch.alone
    return batch


def files(settings: Settings, url: str) -> None:
    """Merchant files of all that occur."""
    for merchant in ("alone", "other"):
        write(settings, url, merchant=merchant)


async def allocated(bench: Bench) -> int:
    """How many shipments are allocated."""
    return int(await bench.raw.xlen(bench.settings.allocated_stream))


async def lost(bench: Bench, merchant: str, reference: str) -> list[Any]:
    """What is known of the losses of a shipment."""
    return list(await bench.raw.hmget(f"allocation:shipment:{merchant}:{reference}", "lost", "lost_token"))


async def test_it_is_worked_on_like_any(child: ChildRuntime, bench: Bench) -> None:
    """With empty hands a child takes it at once, under an id that says so, and settles it."""
    async with listening() as api:
        files(bench.settings, api.url)
        batch = await handed_out_alone(bench)
        worked = await asyncio.to_thread(child.work, batch)
    assert worked.token.endswith(".a")
    assert await allocated(bench) == 1


async def test_it_waits_for_empty_hands(child: ChildRuntime, bench: Bench) -> None:
    """While something else is in the child's hands it is not taken; it is as soon as they are empty."""
    may_answer = asyncio.Event()
    async with listening(allocates_after(may_answer)) as api:
        files(bench.settings, api.url)
        await asyncio.to_thread(child.work, await handed_out(bench, "other", "x"))
        await until(lambda: child._hands.count() == 1)
        batch = await handed_out_alone(bench)
        working = asyncio.create_task(asyncio.to_thread(child.work, batch))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(working), 0.3)
        assert await bench.phase("alone", "a") == "q"
        may_answer.set()
        await working
    assert await allocated(bench) == 2


async def test_hands_that_stay_full(child: ChildRuntime, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child whose hands do not become empty in time gives it up; it is handed out again, and has lost nothing."""
    monkeypatch.setattr(runtime, "ALONE_S", 0.2)
    async with listening(hangs) as api:
        files(bench.settings, api.url)
        await asyncio.to_thread(child.work, await handed_out(bench, "other", "x"))
        batch = await handed_out_alone(bench)
        before = await lost(bench, "alone", "a")
        assert (await asyncio.to_thread(child.work, batch)).fell_back == []
        assert await bench.phase("alone", "a") == "q"
        await bench.end_leases("alone")
        (again,) = await bench.claim_all()
    assert (again.alone, again.references) == (True, ("a",))
    assert await lost(bench, "alone", "a") == before


async def test_nothing_else_beside_it(child: ChildRuntime, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is in its hands, also long after its task has returned, a child takes nothing else; then it does."""
    monkeypatch.setattr(runtime, "ALONE_S", 0.2)
    may_answer = asyncio.Event()
    async with listening(allocates_after(may_answer)) as api:
        files(bench.settings, api.url)
        await asyncio.to_thread(child.work, await handed_out_alone(bench))
        assert child._hands.count() == 1
        other = await handed_out(bench, "other", "x")
        await asyncio.to_thread(child.work, other)
        assert await bench.phase("other", "x") == "q"
        assert child._hands.count() == 1
        may_answer.set()
        await until(lambda: child._hands.count() == 0)
        await asyncio.to_thread(child.work, other)
    assert await allocated(bench) == 2


async def test_its_task_waits_for_it(child: ChildRuntime, bench: Bench) -> None:
    """So that Celery gives the child no other message meanwhile, its task waits for longer than others do."""
    may_answer = asyncio.Event()
    async with listening(allocates_after(may_answer)) as api:
        files(bench.settings, api.url)
        working = asyncio.create_task(asyncio.to_thread(child.work, await handed_out_alone(bench)))
        await until(lambda: bool(api.requests))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(working), 0.5)
        may_answer.set()
        await working
    assert await allocated(bench) == 1


async def test_more_is_due_meanwhile(child: ChildRuntime, bench: Bench, app: Celery) -> None:
    """A message that goes into its place does not make its task return before it is settled."""
    may_answer = asyncio.Event()
    async with listening(allocates_after(may_answer)) as api:
        files(bench.settings, api.url)
        batch = await handed_out_alone(bench)
        await bench.accept("other", "x")
        working = asyncio.create_task(asyncio.to_thread(child.work, batch))
        await until(lambda: bool(api.requests))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(working), 0.5)
        may_answer.set()
        await working
    assert await bench.phase("other", "x") == "q"
    assert app is not None


@pytest.mark.parametrize("is_interrupted", [False, True])
async def test_a_child_that_is_told_to_end(
    app: Celery, settings: Settings, bench: Bench, monkeypatch: pytest.MonkeyPatch, *, is_interrupted: bool
) -> None:
    """It hands the shipment back, also when its task was ended while it waited: the call is open, nothing was lost."""
    monkeypatch.setattr(runtime, "ALONE_S", 0.2)
    child = ChildRuntime(app, settings)
    async with listening(hangs) as api:
        files(settings, api.url)
        batch = await handed_out_alone(bench)
        if is_interrupted:
            monkeypatch.setattr(child, "_in_loop", interrupted(child))
            with pytest.raises(SoftTimeLimitExceeded):
                await asyncio.to_thread(child.work, batch)
        else:
            await asyncio.to_thread(child.work, batch)
        await until(lambda: bool(api.requests))
        await asyncio.to_thread(child.stop)
    (again,) = await bench.claim_all()
    (held,) = (await bench.ledger.take(again)).shipments
    assert (held.progress.open_kind, held.losses, again.alone) == ("unknown", 0, True)


def interrupted(child: ChildRuntime) -> Callable[[Coroutine[Any, Any, Any]], None]:
    """How a task waits for the loop that Celery ends meanwhile."""

    def begin(work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, child._loop)
        raise SoftTimeLimitExceeded

    return begin


async def test_a_message_of_one_without_a_file(child: ChildRuntime, bench: Bench) -> None:
    """A shipment that is parked at once leaves the child free for others."""
    async with listening(allocates) as api:
        write(bench.settings, api.url, merchant="other")
        await asyncio.to_thread(child.work, await handed_out_alone(bench))
        await asyncio.to_thread(child.work, await handed_out(bench, "other", "x"))
    assert await allocated(bench) == 1
