"""The measured systems: this project as in its Procfile, and the peers as in their documentation."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import ClassVar, Protocol

import dramatiq
import redis
from celery import Celery
from dramatiq.brokers.redis import RedisBroker
from taskiq.kicker import AsyncKicker
from taskiq_redis import RedisStreamBroker

from config.strategies.strategy import V1, V2, Flavour
from tests.acceptance.system import order_event, procfile, v1_file, v2_file
from tests.perf.bench import peer_work

ROLES = ("intake", "worker", "beat")
CHILDREN = 4

_AT_ONCE = 200
_FACTS = {
    "weight_kg": 1.2,
    "value": {"amount": "59.98", "currency": "GBP"},
    "destination": {"country": "GB", "postcode": "M1 1AE"},
}

Feed = Callable[[Sequence[str]], dict[str, int]]
"""Publishes an order for each reference; returns the server's time in ms for each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The environment of a contender."""

    redis: "redis.Redis"
    redis_url: str
    broker_url: str
    api_url: str
    merchants: Path


class Contender(Protocol):
    """One measured system."""

    @property
    def name(self) -> str:
        """A slug."""

    @property
    def one_in(self) -> int:
        """One in this many orders falls back; 0 means none."""

    def commands(self) -> Mapping[str, Sequence[str]]:
        """Its processes by their roles."""

    def environment(self, place: Place) -> Mapping[str, str]:
        """The environment variables of its processes."""

    def feeding(self, place: Place) -> AbstractContextManager[Feed]:
        """Prepare what its processes need; returns the function that publishes orders."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ours:
    """Intake, worker with four children, and beat. `merchants`: the number of merchants of the orders.

    `one_in`: of so many orders one falls back; 0: none does.
    """

    name: str
    flavour: Flavour = V2
    merchants: int = 1
    one_in: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)

    def commands(self) -> dict[str, list[str]]:
        """The Procfile's own lines."""
        return {role: command for role, command in procfile().items() if role in ROLES}

    def environment(self, place: Place) -> dict[str, str]:
        """The settings that differ from their defaults."""
        return {
            "ALLOCATION_REDIS_URL": place.redis_url,
            "ALLOCATION_BROKER_URL": place.broker_url,
            "ALLOCATION_MERCHANTS_DIR": str(place.merchants),
            "ALLOCATION_CONCURRENCY": str(CHILDREN),
            "SANDBOX_KEY": "bench",
            **self.settings,
        }

    @contextmanager
    def feeding(self, place: Place) -> Iterator[Feed]:
        """Merchant files; orders go to one merchant after the other."""
        names = [f"merchant-{n:04d}" for n in range(self.merchants)]
        for name in names:
            (place.merchants / f"{name}.toml").write_text(self._file(place.api_url))
        turn = cycle(names)

        def feed(references: Sequence[str]) -> dict[str, int]:
            return _publish(place.redis, references, lambda reference: _order(next(turn), reference))

        yield feed

    def _file(self, api_url: str) -> str:
        if self.flavour == V1:
            return v1_file(api_url, '{ carrier_service = "FF_LINET-00001" }')
        fallback = '[{ carrier_service = "FF_LINET-00001" }]' if self.one_in else "[]"
        return v2_file(api_url, '{ virtual_service = "FF_LINET-00001" }', fallback)


def _order(merchant: str, reference: str) -> str:
    return json.dumps(order_event(merchant, [reference], facts=_FACTS, shipping_method="next-day"))


@dataclass(frozen=True, kw_only=True, slots=True)
class CeleryPeer:
    """One task for each order; `words`: how the worker is started."""

    name: str
    words: tuple[str, ...]
    one_in: ClassVar[int] = 0

    def commands(self) -> dict[str, list[str]]:
        """One worker."""
        app = ("celery", "-A", "tests.perf.bench.celery_peer")
        return {"worker": [*app, "worker", "--loglevel=WARNING", "--task-events", *self.words]}

    def environment(self, place: Place) -> dict[str, str]:
        """The three addresses."""
        return _peer_environment(place)

    @contextmanager
    def feeding(self, place: Place) -> Iterator[Feed]:
        """Send a task, as a shop's own code would."""
        with closing(Celery("bench", broker=place.broker_url)) as app:

            def send(reference: str) -> None:
                app.send_task(peer_work.TASK, [reference], ignore_result=True)

            yield _sending(place, send)


@dataclass(frozen=True, kw_only=True, slots=True)
class DramatiqPeer:
    """One message for each order; `words`: how the workers are started."""

    name: str
    words: tuple[str, ...]
    one_in: ClassVar[int] = 0

    def commands(self) -> dict[str, list[str]]:
        """One master with its worker processes."""
        return {"worker": ["dramatiq", "tests.perf.bench.dramatiq_peer", *self.words]}

    def environment(self, place: Place) -> dict[str, str]:
        """The three addresses."""
        return _peer_environment(place)

    @contextmanager
    def feeding(self, place: Place) -> Iterator[Feed]:
        """Send a message, as a shop's own code would."""
        with closing(RedisBroker(url=place.broker_url)) as broker:  # type: ignore[no-untyped-call]

            def send(reference: str) -> None:
                message = dramatiq.Message[None](
                    queue_name="default", actor_name=peer_work.TASK, args=(reference,), kwargs={}, options={}
                )
                broker.enqueue(message)

            yield _sending(place, send)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskiqPeer:
    """One message for each order, and a second one for one that falls back."""

    name: str
    one_in: int = 0

    def commands(self) -> dict[str, list[str]]:
        """Two worker processes, as many as cores."""
        return {
            "worker": ["taskiq", "worker", "tests.perf.bench.taskiq_peer:broker", "--workers=2", "--log-level=WARNING"]
        }

    def environment(self, place: Place) -> dict[str, str]:
        """The three addresses."""
        return _peer_environment(place)

    @contextmanager
    def feeding(self, place: Place) -> Iterator[Feed]:
        """Send a message, as a shop's own code would."""
        broker = RedisStreamBroker(url=place.broker_url)
        with asyncio.Runner() as runner:
            runner.run(broker.startup())

            async def send(reference: str) -> None:
                await AsyncKicker[..., None](peer_work.TASK, broker, {}).kiq(reference)

            yield _sending(place, lambda reference: runner.run(send(reference)))
            runner.run(broker.shutdown())


@dataclass(frozen=True, kw_only=True, slots=True)
class Floor:
    """One process, one connection, one order after the other: the lower bound for all contenders."""

    name: str
    one_in: ClassVar[int] = 0

    def commands(self) -> dict[str, list[str]]:
        """One process."""
        return {"worker": ["python", "-m", "tests.perf.bench.floor"]}

    def environment(self, place: Place) -> Mapping[str, str]:
        """The addresses."""
        return _peer_environment(place)

    @contextmanager
    def feeding(self, place: Place) -> Iterator[Feed]:
        """It reads the orders stream itself."""
        yield lambda references: _publish(place.redis, references, lambda reference: reference)


def _peer_environment(place: Place) -> dict[str, str]:
    return {
        peer_work.BROKER: place.broker_url,
        peer_work.REDIS: place.redis_url,
        peer_work.API: place.api_url,
    }


def _sending(place: Place, send: Callable[[str], None]) -> Feed:
    """Record on the orders stream when a peer's order is published, then send it."""

    def feed(references: Sequence[str]) -> dict[str, int]:
        came_in: dict[str, int] = {}
        for start in range(0, len(references), _AT_ONCE):
            chunk = references[start : start + _AT_ONCE]
            came_in |= _publish(place.redis, chunk, lambda reference: reference)
            for reference in chunk:
                send(reference)
        return came_in

    return feed


def _publish(client: "redis.Redis", references: Sequence[str], text: Callable[[str], str]) -> dict[str, int]:
    ids: list[bytes] = []
    for start in range(0, len(references), _AT_ONCE):
        pipe = client.pipeline(transaction=False)
        for reference in references[start : start + _AT_ONCE]:
            pipe.xadd(peer_work.ORDERS, {"event": text(reference)})
        ids += pipe.execute()
    return dict(zip(references, map(milliseconds, ids), strict=True))


def milliseconds(stream_id: bytes) -> int:
    """The server's time in the id of a stream's entry."""
    return int(stream_id.partition(b"-")[0])


OURS = Ours(name="allocation")
TASKIQ = TaskiqPeer(name="taskiq-aiohttp")
OURS_MANY = Ours(name="allocation-many", flavour=V1)
CELERY_PREFORK = CeleryPeer(name="celery-prefork", words=("--pool=prefork",))
CELERY_THREADS = CeleryPeer(name="celery-threads-100", words=("--pool=threads", "--concurrency=100"))

FLOOR = Floor(name="floor")

CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        OURS,
        OURS_MANY,
        CELERY_PREFORK,
        CeleryPeer(name="celery-prefork-16", words=("--pool=prefork", "--concurrency=16")),
        CELERY_THREADS,
        FLOOR,
        DramatiqPeer(name="dramatiq-2x64", words=("--processes=2", "--threads=64")),
    )
}
