"""How due shipments start a claim loop: a listening child is woken, or a start message is sent."""

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
    """A dispatcher, while no worker runs."""
    return Dispatcher(app, harness.ledger)


START = StartMessage(merchants=1, merchant="acme", shipments=1, strategy="virtual_service FIRST")


async def accepted(harness: Harness, reference: str) -> bool:
    """Accept a shipment; returns whether a start message is needed."""
    _, start = await harness.ledger.accept(new("acme", reference), [], [], GROUP)
    return start is not None


async def test_the_first_order_starts_one_child(harness: Harness) -> None:
    """If no child listens, the first order needs a start message, and later ones do not until it was received."""
    assert [await accepted(harness, reference) for reference in "abc"] == [True, False, False]
    await harness.raw.delete("allocation:starting")
    assert await accepted(harness, "d")


async def test_a_duplicate_starts_no_child(harness: Harness) -> None:
    """A duplicate order wakes no child."""
    await harness.claim("acme", "a")
    await harness.raw.delete(WAKE, "allocation:starting")
    await harness.raw.delete("allocation:listening")
    assert not await accepted(harness, "a")
    assert await harness.raw.llen(WAKE) == 0


async def test_a_listening_child_is_woken(harness: Harness) -> None:
    """If a child listens, no start message is needed: it is woken once, however many orders are accepted."""
    assert await harness.claim_due() == []
    assert [await accepted(harness, reference) for reference in "abc"] == [False] * 3
    assert await harness.raw.llen(WAKE) == 1


async def test_an_order_right_after_a_child_stopped(harness: Harness) -> None:
    """A received start message is not pending any more: the next order may send another one at once."""
    assert await accepted(harness, "a")
    await harness.ledger.claim(10, is_empty=True, is_starting=True)
    assert not await harness.ledger.notify_due(leaving=True)
    assert await accepted(harness, "b")


async def test_a_full_child_does_not_listen(harness: Harness) -> None:
    """A child that claimed as much as it could, while more is due, does not count as listening."""
    await harness.accept("acme", "a", "b", "c")
    due = await harness.ledger.claim(1, is_empty=True, is_starting=True)
    assert (due.is_more, due.start) == (True, START._replace(shipments=2))
    assert not (await harness.ledger.claim(1, is_empty=True)).start


async def test_a_nearly_full_child_does_not_listen(harness: Harness) -> None:
    """A child that waits for more room before its next claim does not count as listening."""
    await harness.accept("acme", "a")
    assert len((await harness.ledger.claim(10, is_empty=True, is_starting=True, min_room=10)).claims) == 1
    assert await accepted(harness, "b")


async def test_a_stopping_child_does_not_listen(harness: Harness) -> None:
    """A child that ends its claim loop does not count as listening; shipments due at that time start another one."""
    assert await harness.claim_due() == []
    assert not await harness.ledger.notify_due(leaving=True)
    assert await accepted(harness, "a")
    await harness.raw.delete("allocation:starting")
    assert await harness.ledger.notify_due(leaving=True)


async def test_a_start_message_describes_what_is_due(app: Celery, harness: Harness, dispatcher: Dispatcher) -> None:
    """It contains the numbers of merchants and of due shipments, one merchant and its first step; no reference."""
    await harness.claim("busy", "a")
    for merchant in ("acme", "other"):
        await harness.accept(merchant, "a", "b")
    await harness.raw.delete("allocation:starting", "allocation:listening")
    assert await dispatcher.notify_due() == 1
    (message,) = drain(app, BATCHES)
    assert message == START._replace(merchants=2, shipments=4)._asdict()


async def test_nothing_due(app: Celery, harness: Harness, dispatcher: Dispatcher) -> None:
    """If nothing is due, no child is woken and nothing is sent."""
    await harness.report(await harness.claim("acme", "a"), "park", due=4e9)
    await harness.raw.delete(WAKE)
    assert await dispatcher.notify_due() == 0
    assert (await harness.raw.llen(WAKE), depth(app, BATCHES)) == (0, 0)


async def test_start_messages_are_bounded(app: Celery, harness: Harness, dispatcher: Dispatcher) -> None:
    """However often the schedule is checked while no worker runs, one message is queued."""
    await harness.accept("acme", "a")
    await harness.raw.delete("allocation:starting")
    assert [await dispatcher.notify_due() for _ in range(5)] == [1, 0, 0, 0, 0]
    assert depth(app, BATCHES) == 1


async def test_a_report_that_makes_room_wakes_a_child(harness: Harness) -> None:
    """Shipments that were due without room within their merchant's limits wake a child when a report makes room."""
    await harness.ledger.set_limits("acme", 1, 0)
    claim = await harness.claim("acme", "a", "b")
    await harness.raw.delete(WAKE)
    await harness.report(claim, "allocated", event="{}")
    assert await harness.raw.llen(WAKE) == 1


async def test_a_stopping_worker_requeues_unstarted_messages(
    app: Celery, harness: Harness, dispatcher: Dispatcher
) -> None:
    """A message that was read and not started is in the queue again when its reader stops; no copy is kept."""
    await dispatcher.start(START)
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        assert channel.basic_get(BATCHES)
        assert depth(app, BATCHES) == 0
        with redis.Redis.from_url(harness.settings.broker) as broker:
            assert list(broker.scan_iter("*unacked*")) == []
    assert depth(app, BATCHES) == 1


async def test_an_emptied_broker(settings: Settings, app: Celery, dispatcher: Dispatcher) -> None:
    """After the broker was emptied, including Celery's own keys, messages still arrive in the queue."""
    await dispatcher.start(START)
    with redis.Redis.from_url(settings.broker) as broker:
        broker.flushdb()
    await dispatcher.start(START)
    assert depth(app, BATCHES) == 1


async def test_an_unavailable_broker(settings: Settings, harness: Harness) -> None:
    """While the broker is unavailable nothing is raised, and all shipments stay due."""
    await harness.accept("acme", "a")
    await harness.raw.delete("allocation:starting")
    nowhere = settings.model_copy(update={"broker_url": SecretStr(f"redis://127.0.0.1:{free_port()}/1")})
    with application(nowhere, broker_transport_options=AT_ONCE) as app:
        assert await Dispatcher(app, harness.ledger).notify_due() == 0
    assert len(await harness.claim_all()) == 1


async def test_a_broker_that_refuses_messages(settings: Settings, harness: Harness, tmp_path: Path) -> None:
    """A message that could not be sent is sent again later; nothing was claimed for it."""
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


async def test_an_unavailable_ledger(settings: Settings, app: Celery) -> None:
    """While the ledger's server is unavailable nothing is sent, and nothing is raised."""
    nowhere = Harness(settings.model_copy(update={"redis_url": SecretStr(f"redis://127.0.0.1:{free_port()}/0")}))
    assert await Dispatcher(app, nowhere.ledger).notify_due() == 0
    await nowhere.close()
