"""From the schedule into Celery's queue: no more than can run now, and nothing is lost on the way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from pydantic import SecretStr

from config.celery_options import BATCHES
from config.settings import Settings
from tasks.allocate import read_message
from tests.worker.bench import Bench
from tests.worker.queues import AT_ONCE, application, depth, drain
from worker.handout import HandOut
from worker.server import embedded_server, free_port

BOUND = 4
"""As many messages as the settings have children."""


@pytest.fixture
def app(settings: Settings) -> Iterator[Celery]:
    """An application whose broker is the shared server's second database."""
    with application(settings) as app:
        yield app


@pytest.fixture
def hand_out(app: Celery, bench: Bench) -> HandOut:
    """A hand-out of its own, while no worker runs."""
    return HandOut(app, bench.ledger, bench.settings)


async def many_due(bench: Bench) -> None:
    """Something due for more merchants than the queue takes messages."""
    for number in range(3 * BOUND):
        await bench.accept(f"merchant{number}", "a", "b")


async def test_the_queue_has_a_bound(app: Celery, bench: Bench, hand_out: HandOut) -> None:
    """However often is handed out while no worker runs, the queue holds no more messages than there are children."""
    await many_due(bench)
    sent = [await hand_out.hand_out() for _ in range(5)]
    assert sent == [BOUND, 0, 0, 0, 0]
    assert depth(app, BATCHES) == BOUND


async def test_a_place_that_is_free_is_filled(app: Celery, bench: Bench, hand_out: HandOut) -> None:
    """When messages have been read, as many are sent as have been read, or as the caller asks for."""
    await many_due(bench)
    await hand_out.hand_out()
    read, *_ = drain(app, BATCHES)
    taken = await bench.ledger.take(read_message(read), claim=1)
    assert [hand_out.send(taken.claimed), await hand_out.hand_out(), await hand_out.hand_out()] == [1, BOUND - 1, 0]


async def test_a_message_says_what_to_take(app: Celery, bench: Bench, hand_out: HandOut) -> None:
    """A message has merchant, number, strategy, token and references, nothing else; whoever reads it can take them."""
    await bench.accept("acme", "a", "b")
    await hand_out.hand_out()
    (message,) = drain(app, BATCHES)
    assert message.keys() == {"merchant", "shipments", "strategy", "token", "references"}
    assert (message["merchant"], message["shipments"], message["strategy"]) == ("acme", 2, "virtual_service FIRST")
    taken = await bench.ledger.take(read_message(message))
    assert sorted(held.reference for held in taken.shipments) == ["a", "b"]


async def test_a_worker_that_ends_gives_back_what_it_read(app: Celery, bench: Bench, hand_out: HandOut) -> None:
    """A message that was read and not begun is in the queue again when its reader ends; nothing else is kept of it."""
    await bench.accept("acme", "a")
    await hand_out.hand_out()
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        assert channel.basic_get(BATCHES)
        assert depth(app, BATCHES) == 0
        with redis.Redis.from_url(bench.settings.broker) as broker:
            assert list(broker.scan_iter("*unacked*")) == []
    (again,) = drain(app, BATCHES)
    assert again["references"] == ["a"]


async def test_a_broker_that_was_emptied(settings: Settings, app: Celery, bench: Bench, hand_out: HandOut) -> None:
    """After somebody emptied the broker, with all that Celery keeps there, messages still arrive in the queue."""
    await bench.accept("acme", "a")
    await hand_out.hand_out()
    with redis.Redis.from_url(settings.broker) as broker:
        broker.flushdb()
    await bench.accept("other", "a")
    await hand_out.hand_out()
    assert [message["merchant"] for message in drain(app, BATCHES)] == ["other"]
    await bench.end_leases("acme")
    await hand_out.hand_out()
    assert [message["merchant"] for message in drain(app, BATCHES)] == ["acme"]


async def test_a_broker_that_is_away(settings: Settings, bench: Bench) -> None:
    """While the broker is away nothing is claimed, so that everything stays due."""
    await bench.accept("acme", "a")
    nowhere = settings.model_copy(update={"broker_url": SecretStr(f"redis://127.0.0.1:{free_port()}/1")})
    with application(nowhere, broker_transport_options=AT_ONCE) as app:
        assert await HandOut(app, bench.ledger, nowhere).hand_out() == 0
    assert len(await bench.claim_all()) == 1


async def test_a_broker_that_takes_nothing(settings: Settings, bench: Bench, tmp_path: Path) -> None:
    """What was claimed for a message that could not be sent comes back when its lease is over, and is no loss."""
    await bench.accept("acme", "a")
    with embedded_server(tmp_path / "broker") as server, redis.Redis(port=server.port) as broker:
        full = settings.model_copy(update={"broker_url": SecretStr(server.url)})
        with application(full) as app:
            hand_out = HandOut(app, bench.ledger, full)
            broker.config_set("maxmemory", 1)
            assert await hand_out.hand_out() == 0
            assert await bench.phase("acme", "a") == "q"
            broker.config_set("maxmemory", 0)
            await bench.end_leases("acme")
            assert await hand_out.hand_out() == 1
            (message,) = drain(app, BATCHES)
    (held,) = (await bench.ledger.take(read_message(message))).shipments
    assert held.losses == 0


async def test_a_ledger_that_is_away(settings: Settings, app: Celery) -> None:
    """While the ledger's server is away nothing is handed out, and nothing is raised."""
    nowhere = Bench(settings.model_copy(update={"redis_url": SecretStr(f"redis://127.0.0.1:{free_port()}/0")}))
    assert await HandOut(app, nowhere.ledger, settings).hand_out() == 0
    await nowhere.close()
