"""Finds shipments by order number or event id."""

from collections.abc import Sequence
from typing import Any

from config.settings import Settings
from worker.ledger import keys
from worker.ledger.records import server_ms
from worker.redis_client.store import Redis

_DAY_S = 86_400
LONGEST_UNFINISHED_S = 3 * _DAY_S
"""How long after its acceptance an order is indexed beyond ALLOCATION_KEEP_DAYS: about the time to settle it."""


def index_seconds(settings: Settings) -> int:
    """How long an index of a day is kept."""
    return round(settings.keep_days * _DAY_S) + LONGEST_UNFINISHED_S


async def find_order(redis: Redis, settings: Settings, key: str, merchants: Sequence[str]) -> list[tuple[str, str]]:
    """Merchant and reference of the shipments of an order, by its number or the id of its event."""
    fields = [f"e:{key}", *(f"o:{merchant}:{key}" for merchant in merchants)]
    days = await _days(redis, settings)
    by_event, *by_order = await _first_of(redis, days, fields)
    orders = [(name, found) for name, found in zip(merchants, by_order, strict=True) if found]
    if not orders and by_event:
        merchant, _, order = by_event.partition(":")
        (references,) = await _first_of(redis, days, [f"o:{merchant}:{order}"])
        orders = [(merchant, references or "")]
    return [(merchant, reference) for merchant, references in orders for reference in references.split()]


async def _days(redis: Redis, settings: Settings) -> list[str]:
    """The keys of all days that may be kept, the latest first."""
    today = await server_ms(redis) // (_DAY_S * 1000)
    return [keys.orders_index(today - ago) for ago in range(index_seconds(settings) // _DAY_S + 2)]


async def _first_of(redis: Redis, days: Sequence[str], fields: Sequence[str]) -> list[str | None]:
    """The latest value of each field."""
    pipe = redis.pipeline(transaction=False)
    for key in days:
        pipe.hmget(key, fields)
    found: Any = await pipe.execute()
    latest = (next((value for value in values if value), None) for values in zip(*found, strict=True))
    return [value.decode() if value else None for value in latest]
