"""Which invalid merchant files have been logged, in the hash `problems`: `file:<file>:<digest of the problems>`."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from worker.ledger import keys
from worker.ledger.records import server_ms
from worker.redis_client.store import Redis

PREFIX = "file:"


async def note_invalid_file(redis: Redis, file: str, problems: Sequence[str]) -> bool:
    """Note the problems of a file; false if they are noted already."""
    digest = hashlib.sha256("\n".join(problems).encode()).hexdigest()[:12]
    since = await server_ms(redis) / 1000
    return bool(await redis.hsetnx(keys.PROBLEMS, f"{PREFIX}{file}:{digest}", json.dumps({"since": since})))


async def noted_invalid_files(redis: Redis) -> set[str]:
    """The files that are noted as invalid."""
    return {name.rpartition(":")[0].removeprefix(PREFIX) for name in await _names(redis)}


async def forget_invalid_file(redis: Redis, file: str) -> bool:
    """Note that a file is valid again; false if that is noted already."""
    names = [name for name in await _names(redis) if name.startswith(f"{PREFIX}{file}:")]
    return bool(names and await redis.hdel(keys.PROBLEMS, *names))


async def _names(redis: Redis) -> list[str]:
    found: Any = await redis.hkeys(keys.PROBLEMS)
    return [name.decode() for name in found if name.startswith(PREFIX.encode())]
