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
from tests.factories.ledger_harness import Harness, new
from tests.factories.queues import AT_ONCE, application, depth, drain
from worker.dispatch.dispatcher import Dispatcher
from worker.lab.embedded_server import embedded_server, free_port
from worker.streams.orders import GROUP

WAKE = "allocation:wakeups"


@pytest.fixture
def app(settings: Settings) -> Iterator[Celery]:
    """An application whose broker is the shared server's second database."""
    with application(settings) as app:
        yield app


@pytest.fixture
def dispatcher(app: Celery, harness: Harness) -> Dispatcher:
    """A dispatcher of its own, while no worker runs."""
    return Dispatcher(app, harness.ledger)


START = StartMessage(merchants=1, merchant="acme", shipments=1, strategy="virtual_service FIRST")


async def accepted(harness: Harness, reference: str) -> bool:
    """Take in a shipment; whether a message must start a child."""
    _, start = await harness.ledger.accept(new("acme", reference), [], [], GROUP)
    return start is not None


async def test_what_comes_in_starts_one_child(harness: Harness) -> None:
    """Where nobody listens the first order asks for a message, and those after it for no other, until that has come."""
    assert [await accepted(harness, reference) for reference in "abc"] == [True, False, False]
    await harness.raw.delete("allocation:starting")
    assert await accepted(harness, "d")


async def test_what_is_known_starts_nobody(harness: Harness) -> None:
    """An order that comes again has nobody woken."""
    await harness.claim("acme", "a")
    await harness.raw.delete(WAKE, "allocation:starting")
    await harness.raw.delete("allocation:listening")
    assert not await accepted(harness, "a")
    assert await harness.raw.llen(WAKE) == 0


async def test_who_listens_is_woken(harness: Harness) -> None:
    """Where a child listens no message is asked for: it is woken, once, however much comes in."""
    assert await harness.claim_due() == []
    assert [await accepted(harness, reference) for reference in "abc"] == [False] * 3
    assert await harness.raw.llen(WAKE) == 1


async def test_an_order_right_after_a_child_left(harness: Harness) -> None:
    """A message that has come is not on its way any more: the next order may send another one at once."""
    assert await accepted(harness, "a")
    await harness.ledger.claim(10, is_empty=True, is_starting=True)
    assert not await harness.ledger.notify_due(leaving=True)
    assert await accepted(harness, "b")


async def test_who_has_no_room_does_not_listen(harness: Harness) -> None:
    """A child that got as much as it asked for, while more is due, does not count as listening."""
    await harness.accept("acme", "a", "b", "c")
    due = await harness.ledger.claim(1, is_empty=True, is_starting=True)
    assert (due.is_more, due.start) == (True, START._replace(shipments=2))
    assert not (await harness.ledger.claim(1, is_empty=True)).start


async def test_who_has_little_room_does_not_listen(harness: Harness) -> None:
    """A child that would wait for more room before it takes again is not counted upon."""
    await harness.accept("acme", "a")
    assert len((await harness.ledger.claim(10, is_empty=True, is_starting=True, min_room=10)).claims) == 1
    assert await accepted(harness, "b")


async def test_who_leaves_does_not_listen(harness: Harness) -> None:
    """A child that serves no more is not counted upon; what is due at that moment starts another one."""
    assert await harness.claim_due() == []
    assert not await harness.ledger.notify_due(leaving=True)
    assert await accepted(harness, "a")
    await harness.raw.delete("allocation:starting")
    assert await harness.ledger.notify_due(leaving=True)


async def test_a_message_says_what_is_due(app: Celery, harness: Harness, dispatcher: Dispatcher) -> None:
    """It names a merchant, how many have something due, and of this one how much and by which step; no reference."""
    for merchant in ("acme", "other"):
        await harness.accept(merchant, "a", "b")
    await harness.raw.delete("allocation:starting")
    assert await dispatcher.notify_due() == 1
    (message,) = drain(app, BATCHES)
    assert message == START._replace(merchants=2, shipments=2)._asdict()


async def test_a_ring_without_anything_due(app: Celery, harness: Harness, dispatcher: Dispatcher) -> None:
    """Where nothing is due nobody is woken and nothing is sent."""
    await harness.report(await harness.claim("acme", "a"), "park", due=4e9)
    await harness.raw.delete(WAKE)
    assert await dispatcher.notify_due() == 0
    assert (await harness.raw.llen(WAKE), depth(app, BATCHES)) == (0, 0)


async def test_messages_have_a_bound(app: Celery, harness: Harness, dispatcher: Dispatcher) -> None:
    """However often it is looked while no worker runs, one message waits for it."""
    await harness.accept("acme", "a")
    await harness.raw.delete("allocation:starting")
    assert [await dispatcher.notify_due() for _ in range(5)] == [1, 0, 0, 0, 0]
    assert depth(app, BATCHES) == 1


async def test_a_report_that_makes_room_wakes(harness: Harness) -> None:
    """What was due and had no room within its merchant's limits is told of when room comes."""
    await harness.ledger.set_limits("acme", 1, 0)
    claim = await harness.claim("acme", "a", "b")
    await harness.raw.delete(WAKE)
    await harness.report(claim, "allocated", event="{}")
    assert await harness.raw.llen(WAKE) == 1


async def test_a_worker_that_ends_gives_back_what_it_read(
    app: Celery, harness: Harness, dispatcher: Dispatcher
) -> None:
    """A message that was read and not begun is in the queue again when its reader ends; nothing else is kept of it."""
    await dispatcher.start(START)
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        assert channel.basic_get(BATCHES)
        assert depth(app, BATCHES) == 0
        with redis.Redis.from_url(harness.settings.broker) as broker:
            assert list(broker.scan_iter("*unacked*")) == []
    assert depth(app, BATCHES) == 1


async def test_a_broker_that_was_emptied(settings: Settings, app: Celery, dispatcher: Dispatcher) -> None:
    """After somebody emptied the broker, with all that Celery keeps there, messages still arrive in the queue."""
    await dispatcher.start(START)
    with redis.Redis.from_url(settings.broker) as broker:
        broker.flushdb()
    await dispatcher.start(START)
    assert depth(app, BATCHES) == 1


async def test_a_broker_that_is_away(settings: Settings, harness: Harness) -> None:
    """While the broker is away nothing is raised, and everything stays due."""
    await harness.accept("acme", "a")
    await harness.raw.delete("allocation:starting")
    nowhere = settings.model_copy(update={"broker_url": SecretStr(f"redis://127.0.0.1:{free_port()}/1")})
    with application(nowhere, broker_transport_options=AT_ONCE) as app:
        assert await Dispatcher(app, harness.ledger).notify_due() == 0
    assert len(await harness.claim_all()) == 1


async def test_a_broker_that_takes_nothing(settings: Settings, harness: Harness, tmp_path: Path) -> None:
    """A message that could not be sent is sent again later; nothing was taken for it."""
    await harness.accept("acme", "a")
    with embedded_server(tmp_path / "broker") as server, redis.Redis(port=server.port) as broker:
        full = settings.model_copy(update={"broker_url": SecretStr(server.url)})
        with application(full) as app:
            dispatcher = Dispatcher(app, harness.ledger)
            broker.config_set("maxmemory", 1)
            await harness.raw.delete("allocation:starting")
            assert await dispatcher.notify_due() == 0
            broker.config_set("maxmemory", 0)
            await harness.raw.delete("allocation:starting")
            assert await dispatcher.notify_due() == 1
            assert depth(app, BATCHES) == 1
    assert len(await harness.claim_all()) == 1


async def test_a_ledger_that_is_away(settings: Settings, app: Celery) -> None:
    """While the ledger's server is away nothing is sent, and nothing is raised."""
    nowhere = Harness(settings.model_copy(update={"redis_url": SecretStr(f"redis://127.0.0.1:{free_port()}/0")}))
    assert await Dispatcher(app, nowhere.ledger).notify_due() == 0
    await nowhere.close()
