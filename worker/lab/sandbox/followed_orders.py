"""Follows the orders stream, from its first entry on. Reads only, and joins no consumer group."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web

from config.settings import Settings
from worker.lab.sandbox.orders import KnownOrders
from worker.observability.text import visible
from worker.redis_client.store import RedisError, Store, connect
from worker.streams.orders import read_after

EVERY_S = 0.5
"""How often the stream is read, besides before a call that names a shipment of no known order."""

_AT_ONCE = 100


class FollowedOrders:
    """Adds the entries of the orders stream to the known orders."""

    def __init__(self, settings: Settings, orders: KnownOrders) -> None:
        """Does not connect yet."""
        self._redis = connect(settings)
        self._store = Store(self._redis)
        self._stream = settings.orders_stream
        self._orders = orders
        self._position = "0"
        self._reading = asyncio.Lock()
        self._begun = self._ended = 0
        self._readable = True

    async def while_serving(self, _: web.Application) -> AsyncIterator[None]:
        """Follow until the application stops (one of its `cleanup_ctx`)."""
        following = asyncio.create_task(self._follow())
        yield
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await self._redis.aclose()

    async def _follow(self) -> None:
        while True:
            await self.read_to_end()
            await asyncio.sleep(EVERY_S)

    async def read_to_end(self) -> bool:
        """Read everything that was published before this call; False if the stream cannot be read.

        Calls that wait for the same reading share it.
        """
        needed = self._begun + 1
        async with self._reading:
            if self._ended < needed:
                self._begun += 1
                this = self._begun
                self._note(await self._read())
                self._ended = this
            return self._readable

    async def _read(self) -> str | None:
        """Read to the end; the error if that fails."""
        try:
            while entries := await read_after(self._store, self._stream, self._position, _AT_ONCE):
                for stream_id, fields in entries:
                    self._orders.add(fields.get(b"event", b""))
                    self._position = stream_id
        except (RedisError, OSError) as error:
            return str(error)
        return None

    def _note(self, error: str | None) -> None:
        """Write one line when the stream can no longer be read, and one when it can be again."""
        if self._readable and error is not None:
            _say(f"the orders stream cannot be read: {error}; shipments of unread orders get 404 processing meanwhile")
        elif not self._readable and error is None:
            _say("the orders stream is read again")
        self._readable = error is None


def _say(text: str) -> None:
    sys.stderr.write(f"sandbox: {visible(text)}\n")
    sys.stderr.flush()
