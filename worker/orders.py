"""The orders stream: read by a consumer group, so that many intakes share it and none loses an entry."""

import os
import socket
import uuid
from typing import Any

from worker.store import Redis, ResponseError

GROUP = "allocation"
READ_AT_ONCE = 500
WAIT_MS = 1000

Entry = tuple[str, dict[bytes, bytes]]
"""An entry's id and its fields."""


class Orders:
    """One consumer of the orders stream."""

    def __init__(self, redis: Redis, stream: str, lease_s: float) -> None:
        """`lease_s`: how long another intake's entries may lie unacknowledged before they are taken over."""
        self._redis = redis
        self._stream = stream
        self._lease_ms = round(lease_s * 1000)
        self.consumer = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"

    async def make_group(self) -> None:
        """Create stream and group if they are missing, from the very first entry on."""
        try:
            await self._redis.xgroup_create(self._stream, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def read(self) -> list[Entry]:
        """New entries, as soon as there are any; none after a second."""
        answer: Any = await self._redis.xreadgroup(
            GROUP, self.consumer, {self._stream: ">"}, count=READ_AT_ONCE, block=WAIT_MS
        )
        return [_entry(entry) for _, entries in answer or [] for entry in entries]

    async def take_over(self) -> list[Entry]:
        """Entries that a dead intake left unacknowledged for a lease, our own of before a failure among them."""
        answer: Any = await self._redis.xautoclaim(
            self._stream, GROUP, self.consumer, min_idle_time=self._lease_ms, start_id="0-0", count=READ_AT_ONCE
        )
        return [_entry(entry) for entry in answer[1] if entry[1] is not None]

    async def leave(self) -> None:
        """Take this consumer out of the group, unless entries are still in its name."""
        pending = await self._redis.xpending_range(self._stream, GROUP, "-", "+", 1, consumername=self.consumer)
        if not pending:
            await self._redis.xgroup_delconsumer(self._stream, GROUP, self.consumer)


def _entry(entry: Any) -> Entry:
    stream_id, fields = entry
    return stream_id.decode(), fields


async def trim_read_orders(redis: Redis, stream: str) -> None:
    """Cut the orders stream behind its slowest consumer group: never an undelivered or unacknowledged entry."""
    if not await redis.exists(stream):
        return
    groups = await redis.xinfo_groups(stream)
    keep_from = [await _oldest_needed(redis, stream, group) for group in groups]
    if keep_from:
        await redis.xtrim(stream, minid=min(keep_from, key=_parts), approximate=True)


async def _oldest_needed(redis: Redis, stream: str, group: dict[str, bytes]) -> str:
    pending = await redis.xpending(stream, group["name"])
    if pending["pending"]:
        return str(pending["min"].decode())
    milliseconds, sequence = _parts(group["last-delivered-id"].decode())
    return f"{milliseconds}-{sequence + 1}"


def _parts(stream_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence or 0)
