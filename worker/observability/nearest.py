"""Known values that are most like an unknown one."""

import operator
from collections.abc import Sequence
from difflib import get_close_matches
from heapq import nlargest
from typing import Any

from tasks.rules.portions import portions
from worker.ledger import keys
from worker.redis_client.store import Redis

LISTED = 10
_COMPARED = 500
"""How many values are compared in every way; of more, those that have most characters at the same place."""
_LOOKED_AT = 1000
"""How many references of a merchant and state are compared with an unknown one."""
_LOOKED_AT_IN_ALL = 30_000
_READ_AT_ONCE = 250


def nearest(value: str, known: Sequence[str]) -> list[str]:
    """The ten known values most like this one."""
    if len(known) > _COMPARED:
        known = nlargest(_COMPARED, known, key=lambda each: sum(map(operator.eq, value, each)))
    return get_close_matches(value, known, n=LISTED, cutoff=0.0)


async def references(redis: Redis, merchants: Sequence[str]) -> list[str]:
    """References of unfinished and failed shipments, to suggest the nearest ones."""
    names = [key(name) for name in merchants for key in (keys.schedule, keys.working, keys.failed)]
    most = min(_LOOKED_AT, max(1, _LOOKED_AT_IN_ALL // max(1, len(names))))
    found = list[str]()
    for some in portions(names, _READ_AT_ONCE):
        pipe = redis.pipeline(transaction=False)
        for name in some:
            pipe.zrange(name, 0, most - 1)
        replies: Any = await pipe.execute()
        found += [reference.decode() for reply in replies for reference in reply]
    return found
