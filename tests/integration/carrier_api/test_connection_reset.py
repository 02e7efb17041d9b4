"""An abandoned connection is reset: no unsent bytes in a buffer are delivered afterwards."""

import asyncio
import contextlib
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tasks.rules.outcome import Unknown
from tests.factories.raw_api import account, address, allocate, open_client, request
from worker.carrier_api.client import CarrierApi

ROOT = Path(__file__).parents[3]
# Far more than the kernels of both sides buffer for one connection; the receiver's buffer is bounded below.
REFERENCES = tuple(f"{number:04}" + "x" * 200_000 for number in range(100))

PROCESS = """
import asyncio, sys
from tests.integration.carrier_api.test_connection_reset import call
from tests.factories.raw_api import open_client

async def main():
    async with open_client() as client:
        await call(client, sys.argv[1], 60)

asyncio.run(main())
"""


@pytest.fixture(autouse=True, params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """Both kinds of event loop."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


class Peer:
    """The API's end of a connection, which is read only on request."""

    def __init__(self, end: socket.socket) -> None:
        """Uses an accepted connection."""
        self._end = end

    async def arrived(self) -> int:
        """Number of unread bytes, once no more arrive."""
        before, now = -1, 0
        async with asyncio.timeout(20):
            while now == 0 or before != now:
                await asyncio.sleep(0.1)  # time for more to arrive
                before, now = now, self._unread()
        return now

    def _unread(self) -> int:
        count: int = struct.unpack("i", fcntl.ioctl(self._end, termios.FIONREAD, bytes(4)))[0]
        return count

    async def write_text(self, words: bytes) -> None:
        """Write some text."""
        await asyncio.get_running_loop().sock_sendall(self._end, words)

    async def read_to_reset(self) -> int:
        """Read until the reset, which must follow; returns the number of bytes before it."""
        count = 0
        try:
            async with asyncio.timeout(20):
                while chunk := await asyncio.get_running_loop().sock_recv(self._end, 1 << 20):
                    count += len(chunk)
        except ConnectionResetError:
            return count
        pytest.fail(f"{count} bytes, and an orderly end")

    def close(self) -> None:
        """Close the connection."""
        self._end.close()


@asynccontextmanager
async def peer(listener: socket.socket) -> AsyncIterator[Peer]:
    """The next connection of a listener."""
    async with asyncio.timeout(20):
        end, _ = await asyncio.get_running_loop().sock_accept(listener)
    found = Peer(end)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket with a small receive buffer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        listener.settimeout(0)
        yield listener


async def call(client: CarrierApi, url: str, timeout_s: float) -> None:
    """A call whose request is too large for the kernel buffers."""
    merchant_account = account(url, {"default_rules": True}, timeout_s=timeout_s)
    outcomes = await client.allocate(
        merchant_account, merchant_account.merchant.file.allocation.strategy, request(*REFERENCES)
    )
    assert set(outcomes.values()) == {Unknown(reason="timeout", message=f"127.0.0.1: no response in {timeout_s:g} s")}


async def test_a_call_that_timed_out(listener: socket.socket) -> None:
    """After its timeout no more of a request is delivered, however much of it was unread at the other side."""
    async with open_client() as client:
        calls = asyncio.create_task(call(client, address(listener), 1))
        async with peer(listener) as api:
            await calls
            arrived = await api.arrived()
            assert await api.read_to_reset() == arrived


async def test_a_cancelled_call(listener: socket.socket) -> None:
    """The same holds when its task is cancelled."""
    async with open_client() as client:
        calls = asyncio.create_task(call(client, address(listener), 30))
        async with peer(listener) as api:
            await api.arrived()
            calls.cancel()
            await asyncio.wait([calls])
            arrived = await api.arrived()
            assert await api.read_to_reset() == arrived


async def test_a_closed_client(listener: socket.socket) -> None:
    """The same holds when the client is closed during a call."""
    async with open_client() as client:
        calls = asyncio.create_task(call(client, address(listener), 30))
        async with peer(listener) as api:
            await api.arrived()
            await client.close()
            arrived = await api.arrived()
            assert await api.read_to_reset() == arrived
            await asyncio.wait([calls])
            assert calls.exception() is not None


async def test_a_killed_process(listener: socket.socket) -> None:
    """The same holds when the process is killed: its kernel sends no more for it."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROCESS, address(listener), cwd=ROOT)
    try:
        async with peer(listener) as api:
            await api.arrived()
            process.kill()
            await process.wait()
            arrived = await api.arrived()
            assert await api.read_to_reset() == arrived
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


async def test_an_abandoned_body(listener: socket.socket) -> None:
    """A response that is half read ends with a reset too."""
    async with open_client() as client:
        calls = asyncio.create_task(allocate(client, account(address(listener), timeout_s=1)))
        async with peer(listener) as api:
            await api.arrived()
            await api.write_text(b"HTTP/1.1 500 X\r\ncontent-length: 1000\r\n\r\n{")
            assert isinstance(await calls, Unknown)
            await api.read_to_reset()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs TCP_USER_TIMEOUT, which this system lacks")
async def test_the_kernel_timeout(listener: socket.socket) -> None:
    """Unacknowledged data is retransmitted no longer than the longest call lasts."""
    async with open_client(longest_call_s=7) as client:
        calls = asyncio.create_task(allocate(client, account(address(listener))))
        async with peer(listener) as api:
            await api.arrived()
            transport: Any = client._sender._http._transport
            (connection,) = transport._connections.used
            raw = connection._transport.get_extra_info("socket")
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
            calls.cancel()
