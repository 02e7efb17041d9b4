"""The sandbox as a separate process, and the effect of its options on connections and times."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic

import httpx
import uvloop

from tests.integration.sandbox.running_sandbox import RunningSandbox
from worker.lab.sandbox.app import runner
from worker.lab.sandbox.listening import EagerSite
from worker.lab.sandbox.options import Options

MANY = 200
A_FEW_TURNS = 5

StartMessage = Callable[[Options], RunningSandbox]


def test_the_process_prints_its_address_and_ends_on_sigterm() -> None:
    """One line on stdout has the address; SIGTERM ends the process at once."""
    command = [sys.executable, "-c", "from worker.lab.sandbox.app import serve; serve()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        said, _, address = line.strip().rpartition(" ")
        assert said == "sandbox listening on"
        assert httpx.get(f"{address}/_sandbox/health").status_code == 200
        started = monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
        assert monotonic() - started < 2
        assert process.stdout.read() == ""


def test_idle_connections_are_closed(start: StartMessage) -> None:
    """A connection that was idle for the keep-alive time is closed by the server."""
    url = start(Options(keepalive_s=0.05)).client.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=5) as connection:
        connection.sendall(b"GET /_sandbox/health HTTP/1.1\r\nHost: sandbox\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert connection.recv(65536) == b""


def test_latency(start: StartMessage) -> None:
    """A latency is added to every call of the API, and to none of the control endpoints."""
    sandbox = start(Options(latency_s=0.1))
    started = monotonic()
    sandbox.client.get("/shipments/sp_1")
    assert monotonic() - started >= 0.1


def test_waiting_connections_are_accepted_at_once() -> None:
    """The connections of a burst do not each wait for an iteration of the loop."""

    async def accepted() -> int:
        served = runner(Options())
        await served.setup()
        site = EagerSite(served, "127.0.0.1", 0)
        await site.start()
        with ExitStack() as waiting:
            for _ in range(MANY):
                waiting.enter_context(socket.create_connection(("127.0.0.1", site.port)))
            for _ in range(A_FEW_TURNS):
                await asyncio.sleep(0)
            assert served.server is not None
            found = len(served.server.connections)
        await served.cleanup()
        return found

    assert uvloop.run(accepted()) == MANY
