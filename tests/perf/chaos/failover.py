"""A failover behind one address: connections to the old primary stay open, new ones lead to the new primary."""

import contextlib
import select
import socket
import socketserver
import threading
from typing import Any, Self, cast

import redis

from tests.acceptance.system import System, wait_until
from tests.perf.chaos.run import ROLES, Result, Run, write_merchants
from worker.lab.embedded_server import EmbeddedServer


class Relay:
    """One address for servers of which one is the primary, from `with` to its end."""

    def __init__(self, backend: int) -> None:
        """`backend`: the local port that new connections are forwarded to; can be changed."""
        self.backend = backend
        self._ending = threading.Event()
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), cast(Any, self._serve))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """The URL of the first database there."""
        return f"redis://127.0.0.1:{self._server.server_address[1]}/0"

    def __enter__(self) -> Self:
        """Start listening."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close everything."""
        self._ending.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _serve(self, front: socket.socket, *_: object) -> None:
        with contextlib.suppress(OSError), front, socket.create_connection(("127.0.0.1", self.backend)) as back:
            while not self._ending.is_set() and _pass_on(front, back):
                pass


def _pass_on(front: socket.socket, back: socket.socket) -> bool:
    """Forward available data in both directions; False when one side has closed."""
    ready = select.select([front, back], [], [], 0.1)[0]
    for source, target in ((front, back), (back, front)):
        if source in ready:
            chunk = source.recv(65536)
            target.sendall(chunk)
            if not chunk:
                return False
    return True


def failover(system: System, seed: int, orders: int, count: int) -> Result:
    """Primary and replica swap repeatedly, while clients stay connected to the old primary."""
    primary, replica = system.server, EmbeddedServer(system.folder / "replica", binary=system.server.binary)
    replica.start("--replicaof", "127.0.0.1", str(primary.port))
    try:
        with Relay(primary.port) as relay:
            run = Run(system, seed, orders, write_merchants(system), publish=False)
            return _fail_over(run, replica, relay, count)
    finally:
        primary.kill()
        replica.kill()


def _fail_over(run: Run, replica: EmbeddedServer, relay: Relay, count: int) -> Result:
    system = run.system
    system.environment["ALLOCATION_REDIS_URL"] = relay.url
    for role in ROLES:
        system.kill(role)
        system.start(role)
    other = redis.Redis(port=replica.port, decode_responses=True)
    wait_until(lambda: other.info("replication").get("master_link_status") == "up", 20, "the replica in step")
    run.publish()
    for _ in run.shares(count):
        system.redis.execute_command("FAILOVER")
        wait_until(lambda: other.info("replication")["role"] == "master", 20, "the replica's promotion")  # noqa: B023
        system.redis, other = other, system.redis
        relay.backend = system.redis.get_connection_kwargs()["port"]
    result = run.end("failover")
    for role in ROLES:
        system.kill(role)
    other.close()
    return result
