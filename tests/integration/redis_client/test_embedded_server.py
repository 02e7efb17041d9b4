"""The embedded server."""

import socket
from pathlib import Path

import pytest
import redis

from tests.factories.ledger_harness import Harness
from worker.lab.embedded_server import EmbeddedServer, ServerError, embedded_server, free_port
from worker.redis_client.safety import announce, describe


def is_open(port: int) -> bool:
    """Whether a port accepts connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_restart_keeps_the_data(own_server: EmbeddedServer, end: str) -> None:
    """After a crash or a stop, a start restores all data at the same address."""
    with redis.Redis(port=own_server.port, decode_responses=True) as client:
        client.set("kept", "x")
        getattr(own_server, end)()
        assert not is_open(own_server.port)
        own_server.start()
        assert client.get("kept") == "x"


def test_no_process_is_left(tmp_path: Path) -> None:
    """The process ends with the `with`, also when the block raises, and stopping it twice does no harm."""
    with pytest.raises(KeyError), embedded_server(tmp_path) as server:
        raise KeyError
    assert not is_open(server.port)
    server.stop()
    server.kill()


def test_it_is_not_reachable_from_elsewhere(own_server: EmbeddedServer) -> None:
    """It listens on loopback only, evicts nothing and persists every write."""
    with redis.Redis(port=own_server.port, decode_responses=True) as client:
        options = {name: client.config_get(name)[name] for name in ("bind", "maxmemory-policy", "appendonly")}
    assert options == {"bind": "127.0.0.1", "maxmemory-policy": "noeviction", "appendonly": "yes"}


def test_a_failed_start(own_server: EmbeddedServer, tmp_path: Path) -> None:
    """A server that does not start reports why."""
    with pytest.raises(ServerError, match="did not start"):
        EmbeddedServer(tmp_path / "other").start("--no-such-option", "1")
    claim = EmbeddedServer(tmp_path / "third", own_server.port)
    with pytest.raises(ServerError):
        claim.start()
    assert is_open(own_server.port)


def test_a_free_port_is_free() -> None:
    """It accepts no connection."""
    assert not is_open(free_port())


async def test_unsafe_settings_are_described(own_harness: Harness) -> None:
    """A server that may forget or drop shipments is described as such; a safe one has no description."""
    line, unsafe, *_ = await describe(own_harness.redis, own_harness.settings)
    assert line.startswith("Valkey ")
    assert unsafe == []
    await own_harness.raw.config_set("maxmemory-policy", "allkeys-lru")
    await own_harness.raw.config_set("appendonly", "no")
    _, unsafe, *_ = await describe(own_harness.redis, own_harness.settings)
    await announce(own_harness.redis, own_harness.settings)
    assert [text.split()[0] for text in unsafe] == ["maxmemory-policy", "appendonly"]


async def test_a_server_that_refuses_writes(own_harness: Harness) -> None:
    """A read-only replica and a full server respond to reads: the description says that nothing can be written."""
    raw = own_harness.raw
    assert (await describe(own_harness.redis, own_harness.settings)).refuses is None
    await raw.execute_command("REPLICAOF", "127.0.0.1", "1")
    assert (await describe(own_harness.redis, own_harness.settings)).refuses == "it is a replica, and read-only"
    await raw.execute_command("REPLICAOF", "NO", "ONE")
    await raw.config_set("maxmemory", "1mb")
    assert (await describe(own_harness.redis, own_harness.settings)).refuses == "its memory is full"
