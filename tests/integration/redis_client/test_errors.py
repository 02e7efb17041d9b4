"""Error replies: temporary refusals are retried with all results kept; errors of scripts are raised."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from tests.factories.ledger_harness import Harness, until
from tests.perf.chaos.refusals import REFUSALS
from worker.lab.embedded_server import EmbeddedServer, free_port
from worker.redis_client.safety import announce, describe
from worker.redis_client.store import TRANSIENT_ERRORS, ResponseError


@dataclass
class Admin:
    """A server, and an admin client for it."""

    redis: Any
    server: EmbeddedServer


@pytest.mark.parametrize("way", REFUSALS)
async def test_a_result_is_kept(way: str, own_server: EmbeddedServer, own_harness: Harness) -> None:
    """It is reported again and again, with one log line at the start and one at the end."""
    claim = await own_harness.claim("acme", "a")
    with redis.Redis(port=own_server.port, decode_responses=True) as client:
        with REFUSALS[way](Admin(client, own_server)):
            await announce(own_harness.redis, own_harness.settings)
            reporting = asyncio.create_task(own_harness.report(claim, "allocated", event="{}"))
            await until(lambda: own_harness.store._trouble_since is not None)
            assert not reporting.done()
        assert await reporting == [True]


@pytest.mark.parametrize(
    "script",
    [
        "redis.call('SET', 'x', 1) return redis.call('XLEN', 'x')",
        "return nil .. 'a'",
        "return return",
        "return redis.call('GET')",
        "return redis.call('SET', 'x', 1, 'EX', 'never')",
        "return redis.call('NOSUCH', 'x')",
    ],
)
async def test_a_script_error_is_not_retried(own_harness: Harness, script: str) -> None:
    """An error of a script itself is raised at once, as a bug."""
    with pytest.raises(ResponseError) as raised:
        await own_harness.store.retry(lambda: own_harness.raw.eval(script, 0), 5)
    assert not isinstance(raised.value, TRANSIENT_ERRORS)


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        ("UNBLOCKED force unblock from blocking operation", True),
        ("NEWWORD something that no server returns today", True),
        ("ERR something that no server returns today", True),
        ("ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -OOM command not allowed", True),
        ("ERR Error running script (call to f_1): @user_script:1: user_script:1: attempt to index a nil value", False),
        ("ERR wrong number of arguments for 'get' command", False),
    ],
)
async def test_error_texts_of_other_servers(own_harness: Harness, words: str, *, passes: bool) -> None:
    """Errors that no script can cause are temporary; servers before Redis 7 wrap the errors of a script."""
    connection = await own_harness.raw.connection_pool.get_connection()
    assert isinstance(connection._parser.parse_error(words), TRANSIENT_ERRORS) is passes
    await own_harness.raw.connection_pool.release(connection)


async def test_a_user_without_info(own_server: EmbeddedServer, own_harness: Harness) -> None:
    """Without `+info` everything works, and a log line states that a change of the server will not be detected."""
    with redis.Redis(port=own_server.port) as client:
        client.acl_setuser("default", enabled=True, nopass=True, commands=["-info"])
    line, unsafe, *_ = await describe(own_harness.redis, own_harness.settings)
    assert line.startswith("a server at redis://")
    assert any("+info" in each for each in unsafe)
    claim = await own_harness.claim("acme", "a")
    assert await own_harness.report(claim, "allocated", event="{}") == [True]


@pytest.mark.parametrize(
    "words",
    [
        "LOADING Redis is loading the dataset in memory",
        "BUSYKEY Target key name already exists.",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "CLUSTERDOWN Hash slot not served",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "NOAUTH Authentication required.",
        "WRONGPASS invalid username-password pair or user is disabled.",
        "NOPERM User default has no permissions to run the 'evalsha' command",
        "ERR max number of clients reached",
        "NOGOODSLAVE No suitable replica to promote",
        "INPROG Failover already in progress",
        "UNKILLABLE Sorry the script already executed write commands against the dataset.",
    ],
)
async def test_error_texts_of_a_refusing_server(own_harness: Harness, words: str) -> None:
    """Every error that the scripts cannot cause is retried."""
    connection = await own_harness.raw.connection_pool.get_connection()
    assert isinstance(connection._parser.parse_error(words), TRANSIENT_ERRORS)
    await own_harness.raw.connection_pool.release(connection)


async def test_a_cluster_node(own_harness: Harness, tmp_path: Path) -> None:
    """A server that joined a cluster without slots refuses commands, and counts as unavailable."""
    node = EmbeddedServer(tmp_path / "node")
    node.start("--cluster-enabled", "yes", "--cluster-port", str(free_port()))  # by default its port plus 10,000
    try:
        url = SecretStr(node.url)
        there = Harness(own_harness.settings.model_copy(update={"redis_url": url}))
        with pytest.raises(TRANSIENT_ERRORS):
            await there.redis.get("x")
        await there.close()
    finally:
        node.stop()


async def test_a_changed_password(own_server: EmbeddedServer, own_harness: Harness) -> None:
    """After a rotation the old password is refused until the processes have the new one: results are kept meanwhile."""
    with redis.Redis(port=own_server.port) as client:
        client.config_set("requirepass", "old")
        url = SecretStr(f"redis://:old@127.0.0.1:{own_server.port}/0")
        harness = Harness(own_harness.settings.model_copy(update={"redis_url": url}))
        claim = await harness.claim("acme", "a")
        client.execute_command("AUTH", "old")
        client.config_set("requirepass", "new")
        client.client_kill_filter(_type="normal", skipme=True)
        reporting = asyncio.create_task(harness.report(claim, "allocated", event="{}"))
        await until(lambda: harness.store._trouble_since is not None)
        client.config_set("requirepass", "old")
        assert await reporting == [True]
        client.config_set("requirepass", "")
    await harness.close()


async def test_all_connections_to_a_replica_are_closed(own_server: EmbeddedServer, own_harness: Harness) -> None:
    """If one connection gets a refusal of a replica, all others in the pool are closed."""
    pool: Any = own_harness.redis.connection_pool
    connections = [await pool.get_connection() for _ in range(3)]
    for connection in connections:
        await pool.release(connection)
    admin = Admin(redis.Redis(port=own_server.port), own_server)
    with admin.redis, REFUSALS["READONLY"](admin), pytest.raises(TRANSIENT_ERRORS):
        await own_harness.store.retry(lambda: own_harness.redis.set("x", 1), 0.0)
    assert [connection.is_connected for connection in connections] == [False] * 3


async def test_a_connection_to_a_replica_is_closed(own_server: EmbeddedServer, own_harness: Harness) -> None:
    """A connection to a replica is not reused: another server may have the same address by now."""
    before = await own_harness.raw.client_id()
    admin = Admin(redis.Redis(port=own_server.port), own_server)
    with admin.redis, REFUSALS["READONLY"](admin), pytest.raises(TRANSIENT_ERRORS):
        await own_harness.accept("acme", "a")
    assert await own_harness.raw.client_id() != before
