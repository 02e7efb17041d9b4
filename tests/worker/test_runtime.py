"""The inside of a worker child, with a real queue and an API of bare sockets, but without Celery's processes."""

import asyncio
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

from config.celery_options import BATCHES
from config.settings import Settings
from tests.worker.bench import Bench, until
from tests.worker.children import FILE, allocates_after, hand_out, work, write
from tests.worker.queues import depth
from tests.worker.raw_api import KEY, hangs, listening
from worker import runtime
from worker.runtime import ELSEWHERE_WAIT_S, ChildRuntime
from worker.server import free_port


async def test_what_is_settled_makes_room(app: Celery, child: ChildRuntime, bench: Bench) -> None:
    """With a limit in flight the next shipments are handed out as soon as the first are settled, without any sweep."""
    async with listening() as api:
        write(bench.settings, api.url, in_flight=5)
        await bench.ledger.set_limits("acme", 5, 0)
        await hand_out(app, bench, *(f"sp_{n}" for n in range(20)))
        while await work(app, child):
            pass
        assert len(api.requests) == 20
    assert await bench.raw.xlen(bench.settings.allocated_stream) == 20


async def test_a_merchant_without_a_file(app: Celery, child: ChildRuntime, bench: Bench) -> None:
    """Shipments whose merchant has no file are parked, and go on when the file is there."""
    await hand_out(app, bench, "a")
    await work(app, child)
    assert (await bench.ledger.paused())["acme"]["why"] == "its merchant file is gone"
    assert await bench.claim_all() == []
    async with listening() as api:
        write(bench.settings, api.url)
        child._merchants._looked_at = float("-inf")
        assert (await asyncio.to_thread(child.sweep))["resumed"] == ["acme"]
        await asyncio.to_thread(child.sweep)
        await work(app, child)
    assert await bench.raw.xlen(bench.settings.allocated_stream) == 1


async def test_a_machine_without_a_file(app: Celery, child: ChildRuntime, bench: Bench) -> None:
    """Where another machine has the file that this one lacks, the merchant is not paused again and again."""
    await hand_out(app, bench, "a")
    await work(app, child)
    assert "acme" in await bench.ledger.paused()
    assert await bench.ledger.resumed_as("acme", "the digest of another machine's file")
    await bench.ledger.resume("acme")
    (batch,) = await bench.claim_all()
    await asyncio.to_thread(child.work, batch)
    assert await bench.ledger.paused() == {}
    assert await bench.claim_all() == []
    due = await bench.raw.zscore("allocation:waiting:acme", "a")
    assert due is not None
    assert 0 < due / 1000 - bench.ledger.now() <= ELSEWHERE_WAIT_S


async def test_a_merchant_without_a_key(
    app: Celery, child: ChildRuntime, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shipments whose merchant has no key are parked without a call, and go on when the key is there."""
    monkeypatch.delenv("CHILD_KEY")
    async with listening() as api:
        write(bench.settings, api.url)
        await hand_out(app, bench, "a", "b")
        await work(app, child)
        assert api.requests == []
        assert "acme" in await bench.ledger.paused()
        monkeypatch.setenv("CHILD_KEY", KEY)
        for _ in range(2):
            await asyncio.to_thread(child.sweep)
        while await work(app, child):
            pass
    assert await bench.raw.xlen(bench.settings.allocated_stream) == 2


async def test_a_slow_api_holds_no_child(app: Celery, child: ChildRuntime, bench: Bench) -> None:
    """A task returns while its call is still out; the answer settles the shipment when it comes."""
    may_answer = asyncio.Event()
    async with listening(allocates_after(may_answer)) as api:
        write(bench.settings, api.url)
        await hand_out(app, bench, "a")
        await work(app, child)
        await until(lambda: bool(api.requests))
        assert await bench.phase("acme", "a") == "c"
        may_answer.set()
        await until(lambda: not child._hands._slow)
    assert await bench.raw.xlen(bench.settings.allocated_stream) == 1


async def test_a_task_leaves_its_calls_when_more_is_waiting(
    app: Celery, child: ChildRuntime, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While more is due a task does not wait for its calls; the last one does, and all are settled."""
    monkeypatch.setattr(runtime, "PATIENCE_S", 60.0)
    may_answer = asyncio.Event()
    async with listening(allocates_after(may_answer)) as api:
        write(bench.settings, api.url)
        await bench.ledger.set_limits("acme", 1, 0)
        (bench.settings.merchants_dir / "other.toml").write_text(FILE.format(url=api.url, in_flight=0))
        await hand_out(app, bench, "a")
        await bench.accept("other", "b")
        await work(app, child)
        await until(lambda: len(api.requests) == 1)
        assert await bench.phase("acme", "a") == "c"
        last = asyncio.create_task(work(app, child))
        await until(lambda: len(api.requests) == 2)
        assert not last.done()
        may_answer.set()
        assert len(await last) == 1
        await until(lambda: not child._hands._slow)
    assert await bench.raw.xlen(bench.settings.allocated_stream) == 2


async def test_a_busy_child_waits_for_its_calls(
    app: Celery, child: ChildRuntime, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its hands full a child takes no other message before its calls are answered, also when more is due."""
    monkeypatch.setattr(runtime, "PATIENCE_S", 60.0)
    monkeypatch.setattr(runtime, "BUSY", 1)
    may_answer = asyncio.Event()
    async with listening(allocates_after(may_answer)) as api:
        write(bench.settings, api.url)
        (bench.settings.merchants_dir / "other.toml").write_text(FILE.format(url=api.url, in_flight=0))
        await hand_out(app, bench, "a")
        await bench.accept("other", "b")
        first = asyncio.create_task(work(app, child))
        await until(lambda: bool(api.requests))
        assert depth(app, BATCHES) == 1
        assert not first.done()
        may_answer.set()
        await first
        await work(app, child)
    assert await bench.raw.xlen(bench.settings.allocated_stream) == 2


async def test_a_task_that_is_interrupted(
    app: Celery, child: ChildRuntime, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a task is ended while it sends the next message, its calls go on without it and are settled."""
    may_answer = asyncio.Event()
    async with listening(allocates_after(may_answer)) as api:
        write(bench.settings, api.url)
        await hand_out(app, bench, "a")

        def interrupted(_batches: Any) -> int:
            raise SoftTimeLimitExceeded

        monkeypatch.setattr(child._hand_out, "send", interrupted)
        with pytest.raises(SoftTimeLimitExceeded):
            await work(app, child)
        may_answer.set()
        await until(lambda: not child._hands._slow and not child._hands._at_work)
    assert await bench.raw.xlen(bench.settings.allocated_stream) == 1


async def test_a_child_that_is_told_to_end(app: Celery, settings: Settings, bench: Bench) -> None:
    """What a child that ends cannot wait for is due at once, and is read back first."""
    child = ChildRuntime(app, settings)
    async with listening(hangs) as api:
        write(settings, api.url)
        await hand_out(app, bench, "a")
        await work(app, child)
        await until(lambda: bool(api.requests))
        await asyncio.to_thread(child.stop)
    (batch,) = await bench.claim_all()
    (held,) = (await bench.ledger.take(batch)).shipments
    assert (held.progress.open_kind, held.progress.attempts, held.losses) == ("unknown", 1, 0)
    assert await bench.field("shipment:acme:a", "company_lost") == ""


async def test_an_api_that_is_away(app: Celery, child: ChildRuntime, bench: Bench) -> None:
    """A shipment that could not be sent is parked, and the child wakes up by itself when its time has come."""
    write(bench.settings, f"http://127.0.0.1:{free_port()}")
    await hand_out(app, bench, "a")
    await work(app, child)
    await until(lambda: not child._hands._slow)
    assert await bench.phase("acme", "a") == ""
    assert child._alarms.is_set
