"""A peer: Dramatiq with one message for each order. Run with `dramatiq tests.perf.bench.dramatiq_peer`."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.perf.bench.peer_work import BROKER, TASK, allocate_order

dramatiq.set_broker(RedisBroker(url=os.environ[BROKER]))  # type: ignore[no-untyped-call]


@dramatiq.actor(actor_name=TASK)
def allocate(reference: str) -> None:
    """Allocate one shipment."""
    allocate_order(reference)
