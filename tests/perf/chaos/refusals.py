"""A server that is up and refuses commands in different ways, caused with its own commands."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import redis

from tests.acceptance.system import System, wait_until
from tests.perf.chaos.run import Result, Run, write_merchants
from worker.lab.embedded_server import EmbeddedServer

REFUSED_S = 3.0


class Refusing(Protocol):
    """A server with a client of full rights: a whole system or a part of one."""

    redis: Any
    server: EmbeddedServer


@contextlib.contextmanager
def _set(system: Refusing, name: str, value: str, after: str) -> Iterator[None]:
    system.redis.config_set(name, value)
    try:
        yield
    finally:
        system.redis.config_set(name, after)


@contextlib.contextmanager
def _noreplicas(system: Refusing) -> Iterator[None]:
    """No replica follows."""
    with _set(system, "min-replicas-to-write", "1", "0"):
        yield


@contextlib.contextmanager
def _oom(system: Refusing) -> Iterator[None]:
    """No memory is left."""
    with _set(system, "maxmemory", "1", "0"):
        yield


@contextlib.contextmanager
def _misconf(system: Refusing) -> Iterator[None]:
    """A snapshot failed: a folder has the name of its file."""
    folder = system.server.folder / "dump.rdb"
    folder.mkdir()
    with _set(system, "save", "3600 1", ""):
        system.redis.bgsave()
        wait_until(lambda: system.redis.info("persistence")["rdb_last_bgsave_status"] == "err", 10, "a failed snapshot")
        yield
    folder.rmdir()


@contextlib.contextmanager
def _busy(system: Refusing) -> Iterator[None]:
    """Another client's script does not end."""
    with _set(system, "lua-time-limit", "50", "5000"):
        other = threading.Thread(target=_run_for_ever, args=(system.server.port,))
        other.start()
        try:
            wait_until(lambda: _is_busy(system.redis), 10, "a busy server")
            yield
        finally:
            system.redis.script_kill()
            other.join()


def _is_busy(client: Any) -> bool:
    try:
        client.ping()
    except redis.ResponseError:
        return True
    return False


def _run_for_ever(port: int) -> None:
    with redis.Redis(port=port) as client, contextlib.suppress(redis.RedisError):
        client.eval("while true do end", 0)


@contextlib.contextmanager
def _readonly(system: Refusing) -> Iterator[None]:
    """It has become the replica of an unreachable server."""
    system.redis.replicaof("127.0.0.1", "1")
    try:
        yield
    finally:
        system.redis.replicaof("NO", "ONE")


@contextlib.contextmanager
def _noperm(system: Refusing) -> Iterator[None]:
    """The user may neither run scripts nor write."""
    system.redis.execute_command("ACL", "SETUSER", "default", "-@scripting", "-@write")
    try:
        yield
    finally:
        system.redis.execute_command("ACL", "SETUSER", "default", "+@all")


@contextlib.contextmanager
def _noauth(system: Refusing) -> Iterator[None]:
    """The password changes while clients are connected."""
    system.redis.execute_command("ACL", "SETUSER", "default", "resetpass", ">another")
    system.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    try:
        yield
    finally:
        system.redis.execute_command("ACL", "SETUSER", "default", "nopass")


@contextlib.contextmanager
def _maxclients(system: Refusing) -> Iterator[None]:
    """The server accepts no further client."""
    with _set(system, "maxclients", "1", "10000"):
        system.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        yield


REFUSALS: dict[str, Callable[[Refusing], contextlib.AbstractContextManager[None]]] = {
    "NOREPLICAS": _noreplicas,
    "MISCONF": _misconf,
    "BUSY": _busy,
    "READONLY": _readonly,
    "OOM": _oom,
    "NOPERM": _noperm,
    "NOAUTH": _noauth,
    "max number of clients": _maxclients,
}
"""The error of each refusal, and a context manager that causes it."""


def refusals(system: System, seed: int, orders: int, count: int, refused_s: float = REFUSED_S) -> Result:
    """The server refuses in one way after the other; results are kept until it accepts them."""
    run = Run(system, seed, orders, write_merchants(system))
    ways = list(REFUSALS.values())
    for number in run.shares(count):
        with ways[(number - 1) % len(ways)](system):
            time.sleep(refused_s)  # the fault itself
    return run.end("refusals")
