"""Who takes what is due: a child that listens, or one that a message starts; nothing is lost on the way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from pydantic import SecretStr

from config.celery_options import BATCHES
from config.settings import Settings
from tasks.work.messages import StartMessage
from tests.factories.ledger_harness import Bench, new
from tests.factories.queues import AT_ONCE, application, depth, drain
from worker.dispatch.dispatcher import Dispatcher
from worker.lab.embedded_server import embedded_server, free_port
from worker.streams.orders import GROUP

WAKE = "allocation:wake"


@pytest.fixture
def app(settings: Settings) -> Iterator[Celery]:
    """An application whose broker is the shared server's second database."""
    with application(settings) as app:
        yield app


@pytest.fixture
def dispatcher(app: Celery, bench: Bench) -> Dispatcher:
    """A dispatcher of its own, while no worker runs."""
    return Dispatcher(app, bench.ledger)


START = StartMessage(merchants=1, merchant="acme", shipments=1, strategy="virtual_service FIRST")


async def accepted(bench: Bench, reference: str) -> bool:
    """Take in a shipment; whether a message must start a child."""
    _, start = await bench.ledger.accept(new("acme", reference), [], [], GROUP)
    return start is not None


async def test_what_comes_in_starts_one_child(bench: Bench) -> None:
    """Where nobody listens the first order asks for a message, and those after it for no other, until that has come."""
    assert [await accepted(bench, reference) for reference in "abc"] == [True, False, False]
    await bench.raw.delete("allocation:starting")
    assert await accepted(bench, "d")


async def test_what_is_known_starts_nobody(bench: Bench) -> None:
    """An order that comes again has nobody woken."""
    await bench.take("acme", "a")
    await bench.raw.delete(WAKE, "allocation:starting")
    await bench.raw.delete("allocation:serving")
    assert not await accepted(bench, "a")
    assert await bench.raw.llen(WAKE) == 0


async def test_who_listens_is_woken(bench: Bench) -> None:
    """Where a child listens no message is asked for: it is woken, once, however much comes in."""
    assert await bench.take_due() == []
    assert [await accepted(bench, reference) for reference in "abc"] == [False] * 3
    assert await bench.raw.llen(WAKE) == 1


async def test_an_order_right_after_a_child_left(bench: Bench) -> None:
    """A message that has come is not on its way any more: the next order may send another one at once."""
    assert await accepted(bench, "a")
    await bench.ledger.take(10, owns_nothing=True, begins=True)
    assert not await bench.ledger.notify_due(leaving=True)
    assert await accepted(bench, "b")


async def test_who_has_no_room_does_not_listen(bench: Bench) -> None:
    """A child that got as much as it asked for, while more is due, does not count as listening."""
    await bench.accept("acme", "a", "b", "c")
    due = await bench.ledger.take(1, owns_nothing=True, begins=True)
    assert (due.is_more, due.start) == (True, START._replace(shipments=2))
    assert not (await bench.ledger.take(1, owns_nothing=True)).start


async def test_who_has_little_room_does_not_listen(bench: Bench) -> None:
    """A child that would wait for more room before it takes again is not counted upon."""
    await bench.accept("acme", "a")
    assert len((await bench.ledger.take(10, owns_nothing=True, begins=True, least_room=10)).claim) == 1
    assert await accepted(bench, "b")


async def test_who_leaves_does_not_listen(bench: Bench) -> None:
    """A child that serves no more is not counted upon; what is due at that moment starts another one."""
    assert await bench.take_due() == []
    assert not await bench.ledger.notify_due(leaving=True)
    assert await accepted(bench, "a")
    await bench.raw.delete("allocation:starting")
    assert await bench.ledger.notify_due(leaving=True)


async def test_a_message_says_what_is_due(app: Celery, bench: Bench, dispatcher: Dispatcher) -> None:
    """It names a merchant, how many have something due, and of this one how much and by which step; no reference."""
    for merchant in ("acme", "other"):
        await bench.accept(merchant, "a", "b")
    await bench.raw.delete("allocation:starting")
    assert await dispatcher.notify_due() == 1
    (message,) = drain(app, BATCHES)
    assert message == START._replace(merchants=2, shipments=2)._asdict()


async def test_a_ring_without_anything_due(app: Celery, bench: Bench, dispatcher: Dispatcher) -> None:
    """Where nothing is due nobody is woken and nothing is sent."""
    await bench.report(await bench.take("acme", "a"), "park", due=4e9)
    await bench.raw.delete(WAKE)
    assert await dispatcher.notify_due() == 0
    assert (await bench.raw.llen(WAKE), depth(app, BATCHES)) == (0, 0)


async def test_messages_have_a_bound(app: Celery, bench: Bench, dispatcher: Dispatcher) -> None:
    """However often it is looked while no worker runs, one message waits for it."""
    await bench.accept("acme", "a")
    await bench.raw.delete("allocation:starting")
    assert [await dispatcher.notify_due() for _ in range(5)] == [1, 0, 0, 0, 0]
    assert depth(app, BATCHES) == 1


async def test_a_report_that_makes_room_wakes(bench: Bench) -> None:
    """What was due and had no room within its merchant's limits is told of when room comes."""
    await bench.ledger.set_limits("acme", 1, 0)
    claim = await bench.take("acme", "a", "b")
    await bench.raw.delete(WAKE)
    await bench.report(claim, "allocated", event="{}")
    assert await bench.raw.llen(WAKE) == 1


async def test_a_worker_that_ends_gives_back_what_it_read(app: Celery, bench: Bench, dispatcher: Dispatcher) -> None:
    """A message that was read and not begun is in the queue again when its reader ends; nothing else is kept of it."""
    await dispatcher.start(START)
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        assert channel.basic_get(BATCHES)
        assert depth(app, BATCHES) == 0
        with redis.Redis.from_url(bench.settings.broker) as broker:
            assert list(broker.scan_iter("*unacked*")) == []
    assert depth(app, BATCHES) == 1


async def test_a_broker_that_was_emptied(settings: Settings, app: Celery, dispatcher: Dispatcher) -> None:
    """After somebody emptied the broker, with all that Celery keeps there, messages still arrive in the queue."""
    await dispatcher.start(START)
    with redis.Redis.from_url(settings.broker) as broker:
        broker.flushdb()
    await dispatcher.start(START)
    assert depth(app, BATCHES) == 1


async def test_a_broker_that_is_away(settings: Settings, bench: Bench) -> None:
    """While the broker is away nothing is raised, and everything stays due."""
    await bench.accept("acme", "a")
    await bench.raw.delete("allocation:starting")
    nowhere = settings.model_copy(update={"broker_url": SecretStr(f"redis://127.0.0.1:{free_port()}/1")})
    with application(nowhere, broker_transport_options=AT_ONCE) as app:
        assert await Dispatcher(app, bench.ledger).notify_due() == 0
    assert len(await bench.take_all()) == 1


async def test_a_broker_that_takes_nothing(settings: Settings, bench: Bench, tmp_path: Path) -> None:
    """A message that could not be sent is sent again later; nothing was taken for it."""
    await bench.accept("acme", "a")
    with embedded_server(tmp_path / "broker") as server, redis.Redis(port=server.port) as broker:
        full = settings.model_copy(update={"broker_url": SecretStr(server.url)})
        with application(full) as app:
            dispatcher = Dispatcher(app, bench.ledger)
            broker.config_set("maxmemory", 1)
            await bench.raw.delete("allocation:starting")
            assert await dispatcher.notify_due() == 0
            broker.config_set("maxmemory", 0)
            await bench.raw.delete("allocation:starting")
            assert await dispatcher.notify_due() == 1
            assert depth(app, BATCHES) == 1
    assert len(await bench.take_all()) == 1


async def test_a_ledger_that_is_away(settings: Settings, app: Celery) -> None:
    """While the ledger's server is away nothing is sent, and nothing is raised."""
    nowhere = Bench(settings.model_copy(update={"redis_url": SecretStr(f"redis://127.0.0.1:{free_port()}/0")}))
    assert await Dispatcher(app, nowhere.ledger).notify_due() == 0
    await nowhere.close()
