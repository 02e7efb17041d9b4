"""Connections to Redis that stay with us from one command to the next."""

import time
from typing import Any

from hiredis import pack_command
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from worker.deadlines import Deadlines

ANSWERS_WITHIN_S = 5.0
"""A server that takes longer for an answer is away."""

KEPT_S, MOST_KEPT = 1.0, 8
"""A connection that was used so lately, in seconds, is used again without a look at it; so many at the most."""


class Line:
    """A connection for which hiredis writes commands as well as reads answers, and that ends when it takes too long.

    As it comes, only redis-py's blocking client has hiredis write.
    """

    _reader: Any
    _writer: Any
    is_late = False

    def pack_command(self, *args: Any) -> list[bytes]:
        """A command as it goes over the wire."""
        # redis-py writes a command of two words as one argument.
        return [pack_command((*args[0].split(), *args[1:]))]

    async def _send_packed_command(self, command: Any) -> None:
        try:
            self._writer.writelines(command)
            await self._writer.drain()
        except RuntimeError as error:
            raise ConnectionResetError(str(error)) from error

    @property
    def has_ended(self) -> bool:
        """Whether the server has closed it meanwhile, as far as that has got through to us."""
        return self._reader is None or self._reader.at_eof()

    def end(self, _error: Exception | None) -> None:
        """Give it up; whoever reads from it learns that at once."""
        self.is_late = True
        if self._writer is not None:
            self._writer.transport.abort()


class Lines:
    """Connections that stay with us from one command to the next.

    redis-py's own way from a command to a connection and back takes twice as long as the connection does, and its time
    limits make a task and two timers for each command.
    """

    def __init__(self, redis: Redis) -> None:
        """Nothing is connected to."""
        self._pool = redis.connection_pool
        self._deadlines = Deadlines()
        self._kept: list[tuple[Any, float]] = []

    async def command(self, *words: str | bytes | float) -> Any:  # Redis' answer
        """Send a command once, and read its answer. Raises one of `PASSING` while the server is away."""
        line = await self._line()
        tick = self._deadlines.add(line, ANSWERS_WITHIN_S)
        try:
            await line.send_command(*words)
            return await line.read_response()
        except (RedisConnectionError, RuntimeError) as error:
            if line.is_late:
                raise RedisTimeoutError(f"no answer in {ANSWERS_WITHIN_S:g} s") from error
            if isinstance(error, RuntimeError):
                # What uvloop says of a connection that the server has closed meanwhile.
                raise RedisConnectionError(str(error)) from error
            raise
        finally:
            self._deadlines.discard(line, tick)
            if line.is_connected and not line.should_reconnect() and len(self._kept) < MOST_KEPT:
                self._kept.append((line, time.monotonic()))
            else:
                await self._give_back(line)

    async def _line(self) -> Any:
        """One that was used a moment ago; one that was not, the pool looks at first."""
        while self._kept:
            line, used_at = self._kept.pop()
            if line.is_connected and not line.has_ended and time.monotonic() < used_at + KEPT_S:
                return line
            await self._give_back(line)
        line = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py carries none
        line.socket_timeout, line.is_late = None, False
        return line

    async def _give_back(self, line: Any) -> None:
        line.socket_timeout = ANSWERS_WITHIN_S
        await self._pool.release(line)

    async def drop(self) -> None:
        """Connect anew for the next commands."""
        kept, self._kept = self._kept, []
        for line, _ in kept:
            await self._give_back(line)
        await self._pool.disconnect(inuse_connections=False)
