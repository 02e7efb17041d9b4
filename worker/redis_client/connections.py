"""Connections to Redis that are kept between commands."""

import time
from collections import deque
from typing import Any

from hiredis import pack_command
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from worker.deadlines import Deadlines

REPLY_WITHIN_S = 5.0
"""A server that takes longer to reply counts as unavailable."""

KEPT_S, MAX_KEPT = 1.0, 8
"""A connection used this recently, in seconds, is reused without a check; at most this many are kept."""


class RedisConnection:
    """A connection that packs commands by hiredis and ends when a reply takes too long.

    redis-py uses hiredis for packing only in its blocking client.
    """

    _reader: Any
    _writer: Any
    is_late = False

    def pack_command(self, *args: Any) -> list[bytes]:
        """A command as bytes."""
        # redis-py passes a command of two words as one argument.
        return [pack_command((*args[0].split(), *args[1:]))]

    async def _send_packed_command(self, command: Any) -> None:
        try:
            self._writer.writelines(command)
            await self._writer.drain()
        except RuntimeError as error:
            raise ConnectionResetError(str(error)) from error

    @property
    def has_ended(self) -> bool:
        """Whether the server is known to have closed it."""
        reader = self._reader
        is_lost = reader is None or reader.at_eof() or reader.exception() is not None
        return is_lost or bool(self._writer.transport.is_closing())

    def end(self, _error: Exception | None) -> None:
        """Abort it; a pending read fails at once."""
        self.is_late = True
        if self._writer is not None:
            self._writer.transport.abort()


class ConnectionCache:
    """Keeps connections between commands.

    redis-py's own path from a command to a connection and back costs twice as much as the connection, and its timeouts
    create a task and two timers per command.
    """

    def __init__(self, redis: Redis) -> None:
        """Does not connect yet."""
        self._pool = redis.connection_pool
        self._deadlines = Deadlines()
        self._kept = deque[tuple[Any, float]]()

    async def command(self, *words: str | bytes | float) -> Any:  # Redis' reply
        """Send a command once and read its reply. Raises one of `TRANSIENT_ERRORS` while the server is unavailable."""
        line = await self._line()
        tick = self._deadlines.add(line, REPLY_WITHIN_S)
        try:
            await line.send_command(*words)
            return await line.read_response()
        except (RedisConnectionError, RuntimeError) as error:
            # The other connections have probably failed too.
            await self._give_back_all()
            if line.is_late:
                raise RedisTimeoutError(f"no reply in {REPLY_WITHIN_S:g} s") from error
            if isinstance(error, RuntimeError):
                # uvloop's error for a connection that the server has closed.
                raise RedisConnectionError(str(error)) from error
            raise
        finally:
            self._deadlines.discard(line, tick)
            await self._keep(line)

    async def _line(self) -> Any:
        """A recently used connection, or one from the pool, which checks it first."""
        while self._kept:
            line, used_at = self._kept.pop()
            if line.is_connected and not line.has_ended and time.monotonic() < used_at + KEPT_S:
                return line
            await self._give_back(line)
        line = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py carries none
        line.socket_timeout, line.is_late = None, False
        return line

    async def _keep(self, line: Any) -> None:
        """Keep it for the next command, and return one that was not used lately."""
        now = time.monotonic()
        if self._kept and self._kept[0][1] + KEPT_S < now:
            await self._give_back(self._kept.popleft()[0])
        is_good = line.is_connected and not line.should_reconnect() and not line.is_late
        if is_good and len(self._kept) < MAX_KEPT:
            self._kept.append((line, now))
        else:
            await self._give_back(line)

    async def _give_back(self, line: Any) -> None:
        line.socket_timeout = REPLY_WITHIN_S
        if line.has_ended or line.is_late:
            # The pool would not notice.
            await line.disconnect(nowait=True)
        await self._pool.release(line)

    async def _give_back_all(self) -> None:
        kept, self._kept = self._kept, deque()
        for line, _ in kept:
            await self._give_back(line)

    async def drop(self) -> None:
        """Reconnect for the next commands."""
        await self._give_back_all()
        await self._pool.disconnect(inuse_connections=False)
