"""The inside of a worker child, with a real queue and an API of bare sockets, but without Celery's processes."""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

from config.celery_options import BATCHES
from config.settings import Settings
from tasks.allocate import Worked, read_message
from tests.worker.bench import Bench, until
from tests.worker.queues import application, depth, drain
from tests.worker.raw_api import KEY, Request, allocates, listening
from worker import runtime
from worker.handout import HandOut
from worker.runtime import ChildRuntime
from worker.server import free_port

FILE = """[api]
flavour = "shipments-v2"
base_url = "{url}/pro"
api_key = {{ env = "CHILD_KEY" }}
[allocation]
strategy = {{ virtual_service = "FIRST" }}
[limits]
in_flight = {in_flight}
"""


@pytest.fixture
def app(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """An application whose broker is the shared server; the key is at hand, and slow is what takes a tenth second."""
    monkeypatch.setenv("CHILD_KEY", KEY)
    monkeypatch.setattr(runtime, "PATIENCE_S", 0.1)
    monkeypatch.setattr(runtime, "DRAIN_S", 0.1)
    with application(settings) as app:
        yield app


@pytest.fixture
def child(app: Celery, settings: Settings) -> Iterator[ChildRuntime]:
    """A child at work."""
    thresholds = gc.get_threshold()
    child = ChildRuntime(app, settings)
    yield child
    child.stop()
    gc.set_threshold(*thresholds)


def write(settings: Settings, url: str, in_flight: int = 0) -> None:
    """Write the merchant's file."""
    (settings.merchants_dir / "acme.toml").write_text(FILE.format(url=url, in_flight=in_flight))


async def work(app: Celery, child: ChildRuntime) -> list[Worked]:
    """Work on every message that is in the queue now."""
    messages = await asyncio.to_thread(drain, app, BATCHES)
    return [await asyncio.to_thread(child.work, read_message(message)) for message in messages]


async def hand_out(app: Celery, bench: Bench, *references: str) -> None:
    """Take in shipments and hand out what may be."""
    await bench.accept("acme", *references)
    await HandOut(app, bench.ledger, bench.settings).hand_out()


def allocates_after(may_answer: asyncio.Event) -> Any:
    """How an API answers that allocates, but not before the event."""

    async def slow(request: Request, writer: asyncio.StreamWriter) -> None:
        await may_answer.wait()
        await allocates(request, writer)

    return slow


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
        await work(app, child)
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
        await until(lambda: not child._slow)
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
        await until(lambda: not child._slow)
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
        await until(lambda: not child._slow and not child._at_work)
    assert await bench.raw.xlen(bench.settings.allocated_stream) == 1


async def test_a_child_that_is_told_to_end(app: Celery, settings: Settings, bench: Bench) -> None:
    """What a child that ends cannot wait for is due at once, and is read back first."""
    child = ChildRuntime(app, settings)

    async def hangs(_request: Request, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with listening(hangs) as api:
        write(settings, api.url)
        await hand_out(app, bench, "a")
        await work(app, child)
        await until(lambda: bool(api.requests))
        await asyncio.to_thread(child.stop)
    (batch,) = await bench.claim_all()
    (held,) = (await bench.ledger.take(batch)).shipments
    assert (held.progress.doubt, held.progress.unknowns, held.losses) == (True, 1, 0)


async def test_an_api_that_is_away(app: Celery, child: ChildRuntime, bench: Bench) -> None:
    """A shipment that could not be sent is parked, and the child wakes up by itself when its time has come."""
    write(bench.settings, f"http://127.0.0.1:{free_port()}")
    await hand_out(app, bench, "a")
    await work(app, child)
    await until(lambda: not child._slow)
    assert await bench.phase("acme", "a") == ""
    assert child._alarms != set()
