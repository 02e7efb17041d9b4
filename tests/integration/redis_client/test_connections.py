"""Pooled connections to Redis: a reply belongs to its command, and an unavailable or silent server is detected."""

import asyncio
import os
import signal

import pytest
from pydantic import SecretStr

from config.settings import Settings
from tests.factories.ledger_harness import until
from worker.lab.embedded_server import EmbeddedServer
from worker.redis_client import connections
from worker.redis_client.connections import MAX_KEPT, ConnectionCache
from worker.redis_client.store import TRANSIENT_ERRORS, Redis, ResponseError, connect


@pytest.fixture
def redis(own_server: EmbeddedServer, settings: Settings) -> Redis:
    """A client of a server that the test may stop."""
    return connect(settings.model_copy(update={"redis_url": SecretStr(own_server.url)}))


async def clients(kept: ConnectionCache) -> int:
    """Number of connections at the server."""
    return len((await kept.command("CLIENT LIST")).splitlines())


async def test_sequential_commands_share_a_connection(redis: Redis) -> None:
    """Commands one after another use one connection."""
    kept = ConnectionCache(redis)
    for number in range(20):
        assert await kept.command("ECHO", str(number)) == str(number).encode()
    assert await clients(kept) == 1
    await redis.aclose()


async def test_concurrent_commands(redis: Redis) -> None:
    """Concurrent commands each have a connection and get their own replies; few of these connections are kept."""
    kept = ConnectionCache(redis)
    found = await asyncio.gather(*(kept.command("ECHO", str(number)) for number in range(50)))
    assert found == [str(number).encode() for number in range(50)]
    assert len(kept._kept) == MAX_KEPT
    await redis.aclose()


async def test_a_cancelled_command(redis: Redis) -> None:
    """Its connection is closed: its reply would be read as that of the next command."""
    kept = ConnectionCache(redis)
    await kept.command("ECHO", "connected")
    waiting = asyncio.create_task(kept.command("BLPOP", "nothing", 0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert await kept.command("ECHO", "mine") == b"mine"
    await redis.aclose()


async def test_an_error_reply_keeps_the_connection(redis: Redis) -> None:
    """An error is a reply."""
    kept = ConnectionCache(redis)
    await kept.command("SET", "text", "a")
    with pytest.raises(ResponseError):
        await kept.command("LPUSH", "text", "a")
    assert await clients(kept) == 1
    await redis.aclose()


async def test_a_server_that_is_restarted(redis: Redis, own_server: EmbeddedServer) -> None:
    """A connection that the server has closed is not reused, however recently it was used."""
    kept = ConnectionCache(redis)
    await kept.command("ECHO", "connected")
    ((line, _),) = kept._kept
    own_server.kill()
    own_server.start()
    await until(lambda: line.has_ended)
    assert await kept.command("ECHO", "again") == b"again"
    await redis.aclose()


async def test_connections_that_were_reset(redis: Redis) -> None:
    """Of several pooled connections that were reset, none is reused."""
    kept = ConnectionCache(redis)
    await asyncio.gather(*(kept.command("ECHO", str(number)) for number in range(5)))
    for line, _ in kept._kept:
        line.end(None)
    assert await kept.command("ECHO", "again") == b"again"
    await redis.aclose()


async def test_a_burst_releases_its_connections(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a burst the pool has its connections again, even if commands continue without a pause."""
    monkeypatch.setattr(connections, "KEPT_S", 0.05)
    kept = ConnectionCache(redis)
    await asyncio.gather(*(kept.command("ECHO", str(number)) for number in range(100)))
    async with asyncio.timeout(10):
        while len(kept._kept) > 1:
            await kept.command("ECHO", "on")
    await redis.aclose()


async def test_a_silent_server(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not reply is unavailable; a late reply belongs to no other command."""
    kept = ConnectionCache(redis)
    await kept.command("ECHO", "connected")
    pid = int((await redis.info("server"))["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        monkeypatch.setattr(connections, "REPLY_WITHIN_S", 0.2)
        with pytest.raises(TRANSIENT_ERRORS, match=r"no reply in 0\.2 s"):
            await kept.command("ECHO", "late")
    finally:
        os.kill(pid, signal.SIGCONT)
        monkeypatch.undo()
    assert await kept.command("ECHO", "mine") == b"mine"
    await redis.aclose()
