"""The work of a peer's task: one API call and one event on a Redis stream."""

import functools
import json
import os
import threading
from typing import Any

import httpx
import redis

BROKER = "BENCH_BROKER_URL"
REDIS = "BENCH_REDIS_URL"
API = "BENCH_API_URL"
TASK = "bench.allocate"
FALLBACK_TASK = "bench.fall_back"
ORDERS = "orders.created"
STREAM = "shipments.allocated"

_one_at_a_time = threading.Lock()


@functools.cache
def _http() -> httpx.Client:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.Client(base_url=os.environ[API], limits=limits, headers={"x-api-key": "bench", "x-api-version": "1.1"})


@functools.cache
def _redis() -> "redis.Redis":
    return redis.Redis.from_url(os.environ[REDIS])


def _clients() -> tuple[httpx.Client, "redis.Redis"]:
    """The process's clients, created by the first task, so after a fork, and once for all threads."""
    with _one_at_a_time:
        return _http(), _redis()


def allocate_order(reference: str) -> None:
    """Allocate one shipment and publish the event.

    Raises httpx.HTTPError when the API does not allocate it.
    """
    http, stream = _clients()
    answer = http.put(f"/pro/shipments/{reference}/allocate/virtual_service/FF_LINET-00001").raise_for_status()
    stream.xadd(STREAM, {"event": json.dumps(event_of(reference, answer.json()))})


def event_of(reference: str, result: dict[str, Any]) -> dict[str, Any]:
    """The event of an order."""
    return {
        "specversion": "1.0",
        "id": f"{reference}/allocated",
        "source": "urn:bench",
        "type": "shipment.allocated",
        "subject": reference,
        "data": {name: result[name] for name in ("carrier", "price", "tracking_details", "_links")},
    }
