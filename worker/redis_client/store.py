"""The Redis server: connecting, commands and scripts."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any, Protocol, TypeVar

import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import DefaultParser
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, NoScriptError, RedisError, ResponseError

from config.settings import Settings
from worker.redis_client.connections import REPLY_WITHIN_S, ConnectionCache, RedisConnection
from worker.redis_client.errors import REFUSALS, REPLICA_ERRORS, TRANSIENT_ERRORS, ErrorClassifier

__all__ = [
    "PREFIX",
    "REFUSALS",
    "TRANSIENT_ERRORS",
    "NoPermissionError",
    "Redis",
    "RedisError",
    "ResponseError",
    "Store",
    "connect",
    "why_unusable",
]

PREFIX = "allocation:"

MAX_CONNECTIONS = 1000
"""Per process; never reached, while exceeding redis-py's default of 100 is an error."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


def connect(settings: Settings) -> Redis:
    """A client that fails fast and never retries: what may be retried is decided per script."""
    url = settings.redis_url.get_secret_value()
    of_a_network: dict[str, Any] = {} if url.startswith("unix://") else {"socket_keepalive": True}
    redis = Redis.from_url(
        url,
        **of_a_network,
        socket_timeout=REPLY_WITHIN_S,
        socket_connect_timeout=5,
        max_connections=MAX_CONNECTIONS,
        health_check_interval=15,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        parser_class=type("ErrorClassifier", (ErrorClassifier, DefaultParser), {}),
    )
    pool = redis.connection_pool
    pool.connection_class = type("Line", (RedisConnection, pool.connection_class), {})
    return redis


def why_unusable(settings: Settings) -> str | None:
    """Why the client cannot be created for the URL in the settings; None if it can. Does not connect."""
    try:
        connect(settings).connection_pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py carries none
    except (ValueError, TypeError, RedisError):
        # Its message may repeat parts of the URL.
        return "cannot be used by the Redis client; write it as redis://user:password@host:6379/0"
    return None


class Script(Protocol):
    """A Lua script."""

    @property
    def text(self) -> str:
        """Its source."""

    def __hash__(self) -> int: ...


class Store:
    """Runs commands and Lua scripts."""

    def __init__(self, redis: Redis) -> None:
        """Wrap a client; no round trip is made."""
        self.redis = redis
        self._lines = ConnectionCache(redis)
        self._trouble_since: float | None = None

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:  # Redis' reply
        """Run a script once; loads it if the server does not have it.

        Raises one of `TRANSIENT_ERRORS` while the server is unavailable.
        """
        rest = (1 + len(keys), PREFIX, *keys, *args)
        try:
            return await self.command("EVALSHA", _digest(script), *rest)
        except NoScriptError:
            await self.command("SCRIPT LOAD", script.text)
            return await self.command("EVALSHA", _digest(script), *rest)

    async def command(self, *words: str | bytes | float) -> Any:  # Redis' reply
        """Send a command once; returns the raw reply. Raises as `run` does."""
        return await self._lines.command(*words)

    async def retry(self, attempt: Callable[[], Awaitable[T]], patience_s: float) -> T:
        """Retry an idempotent operation until the server is back, for at most `patience_s`.

        Logs once when the server becomes unavailable, and once when it is back.
        """
        deadline = time.monotonic() + patience_s
        pause_s = 0.1
        while True:
            try:
                reply = await attempt()
            except TRANSIENT_ERRORS as error:
                self._note_trouble(error)
                if isinstance(error, REPLICA_ERRORS):
                    # Another server may be the primary behind the same address.
                    await self._lines.drop()
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise
                await asyncio.sleep(min(pause_s, left_s))
                pause_s = min(2.0, pause_s * 2)
            else:
                self._note_recovery()
                return reply

    def _note_trouble(self, error: Exception) -> None:
        if self._trouble_since is None:
            self._trouble_since = time.monotonic()
            log.warning("redis_unavailable", error=str(error), next="waiting for it, with backoff")

    def _note_recovery(self) -> None:
        if self._trouble_since is not None:
            log.warning("redis_recovered", after_s=round(time.monotonic() - self._trouble_since, 1))
            self._trouble_since = None


@cache
def _digest(script: Script) -> str:
    return hashlib.sha1(script.text.encode(), usedforsecurity=False).hexdigest()  # as the server names it
