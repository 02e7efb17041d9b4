"""The Redis server: connecting, and running our scripts. The one place that imports redis."""

import asyncio
import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import structlog
from hiredis import pack_command
from redis.asyncio import Redis
from redis.asyncio.connection import DefaultParser
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ExecAbortError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from config.settings import Settings

__all__ = [
    "PASSING",
    "PREFIX",
    "REFUSALS",
    "NoPermissionError",
    "Redis",
    "RedisError",
    "ResponseError",
    "Store",
    "connect",
    "why_unusable",
]

PREFIX = "allocation:"


class RefusalError(ResponseError):
    """A server that is up says no, in words for which the client has no class of its own."""


_NAMED_REFUSALS = (
    ReadOnlyError,
    MasterDownError,
    ClusterDownError,
    TryAgainError,
    AskError,
    OutOfMemoryError,
    ExecAbortError,
    NoPermissionError,
    NoScriptError,
)

REFUSALS = (ResponseError, AuthenticationError, BusyLoadingError)
"""Errors of a server that is up: for the client two of them are errors of the connection."""

PASSING = (RedisConnectionError, RedisTimeoutError, OSError, RefusalError, *_NAMED_REFUSALS)
"""Errors of a server that is away, or up and says no for whatever reason: waited out, as that passes.

Not among them is only what a command or script of ours brings upon itself.
"""

_OF_A_REPLICA = (ReadOnlyError, MasterDownError)

_OUR_FAULT = re.compile(
    r"(WRONGTYPE|BUSYGROUP|NOGROUP|CROSSSLOT) "
    r"|ERR .*(user_script|wrong number of arg|syntax error|unknown (sub)?command|no such key"
    r"|value is not|is not an? (integer|valid)|invalid stream id|must be|the id specified)",
    re.IGNORECASE | re.DOTALL,
)
"""What an error begins with, or says, that is a bug or an answer, and would be the same at the next try."""

_PASSED_ON = re.compile(r"ERR .*script.*(no permissions|can't run this command|killed by user)", re.DOTALL)
"""A script's error for which it can do nothing."""

_WITHIN = re.compile(r"ERR .*user_script: ?\d+: -?((?!ERR|WRONGTYPE)[A-Z]{3,} .+)", re.DOTALL)
"""What a command within a script was told, as servers before Redis 7 wrap it."""

_NEEDS = {
    "accept": ("_wake",),
    "take": ("_tokens", "_taken", "_wake", "_expiry", "_room"),
    "take_link": ("_tokens", "_taken", "_wake"),
    "hold": ("_tokens", "_wake"),
    "probe": ("_wake",),
    "read": ("_entries",),
    "replay": ("_wake",),
    "report": ("_tokens", "_breakers", "_wake"),
    "resume": ("_wake",),
    "ring": ("_wake",),
    "take_over": ("_entries",),
}
"""What stands between the prelude and a script."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


def connect(settings: Settings) -> Redis:
    """A client that fails fast and retries nothing by itself: what may be repeated is decided here, per script."""
    url = settings.redis_url.get_secret_value()
    of_a_network: dict[str, Any] = {} if url.startswith("unix://") else {"socket_keepalive": True}
    redis = Redis.from_url(
        url,
        **of_a_network,
        socket_timeout=5,
        socket_connect_timeout=5,
        health_check_interval=15,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        parser_class=type("Judging", (_Judging, DefaultParser), {}),
    )
    pool = redis.connection_pool
    pool.connection_class = type("Packed", (_Packed, pool.connection_class), {})
    return redis


def why_unusable(settings: Settings) -> str | None:
    """Why the client cannot be made for the URL in the settings; None when it can. Nothing is connected to."""
    try:
        connect(settings).connection_pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py carries none
    except (ValueError, TypeError, RedisError):
        # Its own words may repeat what stands in the URL.
        return "cannot be used by the Redis client; write it as redis://user:password@host:6379/0"
    return None


class _Packed:
    """Has hiredis write commands as well as read answers; as it comes, only redis-py's blocking client does."""

    _writer: Any

    def pack_command(self, *args: Any) -> list[bytes]:
        # redis-py writes a command of two words as one argument.
        return [pack_command((*args[0].split(), *args[1:]))]

    async def _send_packed_command(self, command: Any) -> None:
        try:
            self._writer.writelines(command)
            await self._writer.drain()
        except RuntimeError as error:
            # What uvloop says of a connection that the server has closed meanwhile.
            raise ConnectionResetError(str(error)) from error


class _Judging:
    """Tells refusals from our own faults as they are read, and leaves the connection on which a replica refused.

    Whoever asks for a connection next gets a new one: after a failover behind one address, to the new primary.
    """

    _connection: Any = None

    def on_connect(self, connection: Any) -> None:
        self._connection = connection
        super().on_connect(connection)  # type: ignore[misc]  # what it is mixed into has it

    def parse_error(self, response: str) -> Exception:
        if wrapped := _WITHIN.match(response):
            return self.parse_error(wrapped[1])
        error: Exception = super().parse_error(response)  # type: ignore[misc]  # likewise
        if isinstance(error, _OF_A_REPLICA) or response.startswith("UNBLOCKED"):
            self._connection.mark_for_reconnect()
        return RefusalError(response) if type(error) is ResponseError and not _is_our_fault(response) else error


def _is_our_fault(response: str) -> bool:
    return bool(_OUR_FAULT.match(response)) and not _PASSED_ON.match(response)


class Store:
    """Runs the scripts of `worker/lua`."""

    def __init__(self, redis: Redis) -> None:
        """Wrap a client; no round trip is made."""
        self.redis = redis
        self._trouble_since: float | None = None

    async def run(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:  # Redis' answer
        """Run a script once; loads it when the server does not know it.

        Raises one of `PASSING` while the server is away.
        """
        rest = (1 + len(keys), PREFIX, *keys, *args)
        try:
            return await self.command("EVALSHA", _digest(script), *rest)
        except NoScriptError:
            return await self.command("EVAL", _text(script), *rest)

    async def command(self, *words: str | bytes | float) -> Any:  # Redis' answer
        """Send a command once; its answer is as the server wrote it.

        redis-py's own way from a command to its connection takes as long again as the connection does.
        """
        pool = self.redis.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py carries none
        try:
            await connection.send_command(*words)
            return await connection.read_response()
        finally:
            await pool.release(connection)

    async def insist(self, attempt: Callable[[], Awaitable[T]], patience_s: float) -> T:
        """Repeat what may be repeated until the server is back, for at most `patience_s`; says so once each way."""
        deadline = time.monotonic() + patience_s
        pause_s = 0.1
        while True:
            try:
                answer = await attempt()
            except PASSING as error:
                self._note_trouble(error)
                if isinstance(error, _OF_A_REPLICA):
                    # Behind the same address another server may be the primary by now.
                    await self.redis.connection_pool.disconnect(inuse_connections=False)
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise
                await asyncio.sleep(min(pause_s, left_s))
                pause_s = min(2.0, pause_s * 2)
            else:
                self._note_recovery()
                return answer

    def _note_trouble(self, error: Exception) -> None:
        if self._trouble_since is None:
            self._trouble_since = time.monotonic()
            log.warning("redis_away", error=str(error), next="waiting for it, with backoff")

    def _note_recovery(self) -> None:
        if self._trouble_since is not None:
            log.warning("redis_back", after_s=round(time.monotonic() - self._trouble_since, 1))
            self._trouble_since = None


@cache
def _digest(script: str) -> str:
    return hashlib.sha1(_text(script).encode(), usedforsecurity=False).hexdigest()  # as the server names it


@cache
def _text(script: str) -> str:
    folder = resources.files("worker") / "lua"
    return "".join((folder / f"{part}.lua").read_text() for part in ("_prelude", *_NEEDS.get(script, ()), script))
