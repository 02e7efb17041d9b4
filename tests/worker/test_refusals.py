"""A server that is up and says no: what is in hand is kept until that is over; our own faults are not repeated."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from tests.chaos.refusals import REFUSALS
from tests.worker.bench import Bench, until
from worker.server import EmbeddedServer
from worker.store import PASSING, ResponseError, announce, describe


@dataclass
class Admin:
    """A server, and a client that may do everything there."""

    redis: Any
    server: EmbeddedServer


@pytest.mark.parametrize("way", REFUSALS)
async def test_a_result_in_hand_is_kept(way: str, own_server: EmbeddedServer, own_bench: Bench) -> None:
    """It is reported again and again, with one line when that begins and one when it is over."""
    taken = await own_bench.take("acme", "a")
    with redis.Redis(port=own_server.port, decode_responses=True) as client:
        with REFUSALS[way](Admin(client, own_server)):
            await announce(own_bench.redis, own_bench.settings)
            reporting = asyncio.create_task(own_bench.report(taken, "allocated", event="{}"))
            await until(lambda: own_bench.store._trouble_since is not None)
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
async def test_our_own_fault_is_not_repeated(own_bench: Bench, script: str) -> None:
    """What a script brings upon itself is raised at once, as the bug that it is."""
    with pytest.raises(ResponseError) as raised:
        await own_bench.store.insist(lambda: own_bench.raw.eval(script, 0), 5)
    assert not isinstance(raised.value, PASSING)


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        ("UNBLOCKED force unblock from blocking operation", True),
        ("NEWWORD something that no server says today", True),
        ("ERR something that no server says today", True),
        ("ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -OOM command not allowed", True),
        ("ERR Error running script (call to f_1): @user_script:1: user_script:1: attempt to index a nil value", False),
        ("ERR wrong number of arguments for 'get' command", False),
    ],
)
async def test_words_of_other_servers(own_bench: Bench, words: str, *, passes: bool) -> None:
    """What no script of ours can provoke passes, whatever it is; servers before Redis 7 wrap what a script was told."""
    connection = await own_bench.raw.connection_pool.get_connection()
    assert isinstance(connection._parser.parse_error(words), PASSING) is passes
    await own_bench.raw.connection_pool.release(connection)


async def test_a_user_who_may_not_ask_who_the_server_is(own_server: EmbeddedServer, own_bench: Bench) -> None:
    """Without `+info` all goes on, and it is said that a change of the server will not be noticed."""
    with redis.Redis(port=own_server.port) as client:
        client.acl_setuser("default", enabled=True, nopass=True, commands=["-info"])
    line, unsafe = await describe(own_bench.redis, own_bench.settings)
    assert line.startswith("a server at redis://")
    assert any("+info" in each for each in unsafe)
    taken = await own_bench.take("acme", "a")
    assert await own_bench.report(taken, "allocated", event="{}") == [True]


async def test_a_replica_is_left(own_server: EmbeddedServer, own_bench: Bench) -> None:
    """The connection on which a replica refused is not used again: behind the same address there may be another."""
    before = await own_bench.raw.client_id()
    admin = Admin(redis.Redis(port=own_server.port), own_server)
    with admin.redis, REFUSALS["READONLY"](admin), pytest.raises(PASSING):
        await own_bench.accept("acme", "a")
    assert await own_bench.raw.client_id() != before
