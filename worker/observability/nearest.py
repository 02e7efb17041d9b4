"""Known values that are most like an unknown one."""

from collections.abc import AsyncIterator, Sequence
from difflib import get_close_matches
from typing import Any

from worker.ledger import keys
from worker.redis_client.store import Redis

LISTED = 10
_LOOKED_AT = 1000
"""How many references of a merchant and state are compared with an unknown one."""


def nearest(value: str, known: Sequence[str]) -> list[str]:
    """The ten known values most like this one."""
    return get_close_matches(value, known, n=LISTED, cutoff=0.0)


async def references(redis: Redis, merchants: Sequence[str]) -> list[str]:
    """References of unfinished and failed shipments, to suggest the nearest ones."""
    return [reference async for reference in _references(redis, merchants)]


async def _references(redis: Redis, merchants: Sequence[str]) -> AsyncIterator[str]:
    for merchant in merchants:
        for key in (keys.schedule(merchant), keys.working(merchant), keys.failed(merchant)):
            found: Any = await redis.zrange(key, 0, _LOOKED_AT - 1)
            for reference in found:
                yield reference.decode()
