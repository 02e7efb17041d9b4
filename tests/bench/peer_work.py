"""What a peer's task does for an order: one call of the API and one event on a Redis stream, as plainly as can be."""

import functools
import json
import os
from typing import Any

import httpx
import redis

BROKER = "BENCH_BROKER_URL"
REDIS = "BENCH_REDIS_URL"
API = "BENCH_API_URL"
TASK = "bench.allocate"
STREAM = "shipments.allocated"


@functools.cache
def _http() -> httpx.Client:
    """The process's one client, made when the first task needs it, so after any fork."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.Client(base_url=os.environ[API], limits=limits, headers={"x-api-key": "bench", "x-api-version": "1.1"})


@functools.cache
def _redis() -> "redis.Redis":
    return redis.Redis.from_url(os.environ[REDIS])


def allocate_order(reference: str) -> None:
    """Allocate one shipment and say so.

    Raises httpx.HTTPError when the API does not allocate it.
    """
    answer = _http().put(f"/pro/shipments/{reference}/allocate/virtual_service/FF_LINET-00001").raise_for_status()
    _redis().xadd(STREAM, {"event": json.dumps(_event(reference, answer.json()))})


def _event(reference: str, result: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"{reference}/allocated",
        "source": "urn:bench",
        "type": "shipment.allocated",
        "subject": reference,
        "data": {name: result[name] for name in ("carrier", "price", "tracking_details", "_links")},
    }
