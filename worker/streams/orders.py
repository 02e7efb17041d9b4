"""The orders stream, read by a consumer group, so that many intakes share it without losing entries."""

import asyncio
import os
import socket
import time
import uuid
from collections.abc import AsyncIterator
from typing import NamedTuple

from tasks.rules.order import MAX_EVENT_BYTES
from worker.ledger import keys
from worker.ledger.scripts import READ_ORDERS, RECLAIM_ORDERS
from worker.ledger.stream_arguments import ReadArgs, ReclaimArgs
from worker.redis_client.store import ResponseError, Store

GROUP = "allocation"
WAIT_MS = 1000

GATHERED_S = 0.01
"""The minimum time between two reads."""

FIRST_READ = 16
"""Entries of a blocking read; after a full one, more are read at once."""

READ_AT_ONCE = 500
READ_BYTES = 8 * 1024 * 1024
"""Most entries, and about the most bytes, of one read."""

RECLAIMED_AT_ONCE = 16
DELIVERED_OFTEN = 3
"""An entry delivered this often is processed alone."""

MAX_ENDED = 2
"""Intakes that may terminate while processing only the same entry, before it is rejected."""

ALONE_KEPT_S = 86400

Entry = tuple[str, dict[bytes, bytes]]
"""An entry's id and fields; a value longer than an event may be is cut one byte beyond that."""


class ReclaimedEntries(NamedTuple):
    """A portion of reclaimed entries. `alone`: a single entry that was delivered often."""

    entries: list[Entry]
    lost: list[str]
    alone: bool = False


class OrdersStream:
    """One consumer of the orders stream."""

    def __init__(self, store: Store, stream: str, lease_s: float) -> None:
        """`lease_s`: how long another intake's entries may be unacknowledged before they are reclaimed."""
        self._redis = store.redis
        self._store = store
        self._stream = stream
        self._more = False
        self._read_at = float("-inf")
        self._alone: str | None = None
        self._lease_ms = round(lease_s * 1000)
        self.consumer = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"

    async def make_group(self) -> None:
        """Create stream and group if they are missing, starting at the first entry."""
        try:
            await self._redis.xgroup_create(self._stream, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def read(self) -> list[Entry]:
        """New entries, as soon as there are any; none after a second.

        While entries arrive one by one, those of `GATHERED_S` are read together.
        """
        if not self._more:
            await asyncio.sleep(self._read_at + GATHERED_S - time.monotonic())
        entries = await self._read()
        self._read_at = time.monotonic()
        return entries

    async def _read(self) -> list[Entry]:
        if self._more:
            args = ReadArgs(GROUP, self.consumer, READ_AT_ONCE, READ_BYTES, MAX_EVENT_BYTES + 1)
            found = [_entry(*entry) for entry in await self._store.run(READ_ORDERS, [self._stream], args)]
            self._more = bool(found)
            if found:
                return found
        first = ("GROUP", GROUP, self.consumer, "COUNT", FIRST_READ, "BLOCK", WAIT_MS, "STREAMS", self._stream, ">")
        reply = await self._store.command("XREADGROUP", *first)
        entries = [_entry(*entry) for _, some in reply or [] for entry in some]
        self._more = len(entries) == FIRST_READ
        return entries

    async def reclaim(self) -> AsyncIterator[ReclaimedEntries]:
        """Entries unacknowledged for a lease, including our own from before a failure."""
        await self._still_here()
        at = b"0-0"
        while True:
            args = ReclaimArgs(GROUP, self.consumer, self._lease_ms, at, RECLAIMED_AT_ONCE, MAX_EVENT_BYTES + 1)
            at, lost, found = await self._store.run(RECLAIM_ORDERS, [self._stream], args)
            few = [_entry(stream_id, fields) for stream_id, times, fields in found if times < DELIVERED_OFTEN]
            if few or lost:
                yield ReclaimedEntries(few, [stream_id.decode() for stream_id in lost])
            for stream_id, times, fields in found:
                if times >= DELIVERED_OFTEN:
                    yield ReclaimedEntries([_entry(stream_id, fields)], [], alone=True)
            if at == b"0-0":
                break

    async def ended_with(self, stream_id: str) -> int:
        """Record that this intake processes only this entry; returns how many others terminated so."""
        key = _alone_in_hand(stream_id)
        self._alone = stream_id
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.sadd(key, self.consumer)
            pipe.expire(key, ALONE_KEPT_S)
            pipe.scard(key)
            return int((await pipe.execute())[-1]) - 1

    async def is_done(self, stream_id: str) -> None:
        """Remove that record."""
        await self._redis.delete(_alone_in_hand(stream_id))
        self._alone = None

    async def _still_here(self) -> None:
        """An intake that was only interrupted by an unavailable server did not terminate with the entry."""
        if self._alone is not None:
            await self._redis.srem(_alone_in_hand(self._alone), self.consumer)
            self._alone = None

    async def leave(self) -> None:
        """Remove this consumer from the group, unless it has pending entries."""
        pending = await self._redis.xpending_range(self._stream, GROUP, "-", "+", 1, consumername=self.consumer)
        if not pending:
            await self._redis.xgroup_delconsumer(self._stream, GROUP, self.consumer)


async def read_after(store: Store, stream: str, stream_id: str, most: int) -> list[Entry]:
    """The entries that follow this one, at most this many; reads only, outside the consumer group."""
    reply = await store.command("XREAD", "COUNT", most, "STREAMS", stream, stream_id)
    return [_entry(*entry) for _, some in reply or [] for entry in some]


def _alone_in_hand(stream_id: str) -> str:
    return keys.held_alone(stream_id)


def _entry(stream_id: bytes, fields: list[bytes]) -> Entry:
    return stream_id.decode(), dict(zip(fields[::2], fields[1::2], strict=True))
