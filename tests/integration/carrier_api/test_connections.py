"""Connections to APIs: each is released or reset after its call, and no response belongs to another call."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tasks.rules.outcome import Allocated, Unknown
from tests.factories.ledger_harness import until
from tests.factories.raw_api import (
    Request,
    account,
    address,
    allocate,
    allocated,
    call_once,
    hangs,
    idle_connections,
    listening,
    open_client,
    request,
    responds_with,
    response,
)
from worker.carrier_api.client import CarrierApi
from worker.carrier_api.transport import connections
from worker.carrier_api.transport.response_parser import ResponseParser
from worker.deadlines import Deadlines

PROMISE = b"HTTP/1.1 199 Soon\r\ncontent-length: 3\r\n\r\nabc"


def used(api: CarrierApi) -> set[Any]:
    """The connections that carry a request."""
    transport: Any = api._sender._http._transport
    found: set[Any] = transport._connections.used
    return found


async def test_informational_responses() -> None:
    """Informational responses before the final one are skipped."""
    async with listening(responds_with(PROMISE + response(200, allocated()))) as api:
        assert isinstance(await call_once(api.url), Allocated)


@pytest.mark.parametrize("turns", range(8))
async def test_a_call_that_is_cancelled_with_its_response(turns: int) -> None:
    """Its connection is no longer in use, in whichever iteration of the loop it is cancelled."""
    call_record = asyncio.Event()

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, allocated(request.reference)))
        call_record.set()

    async with listening(handler) as api, open_client() as client:
        call = asyncio.create_task(allocate(client, account(api.url)))
        await call_record.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert used(client) == set()


async def test_calls_that_time_out_leave_nothing() -> None:
    """A call that timed out keeps neither its connection nor its deadline."""
    async with listening(hangs) as api, open_client() as client:
        found = await asyncio.gather(*(allocate(client, account(api.url, timeout_s=0.2)) for _ in range(5)))
        assert {type(outcome) for outcome in found} == {Unknown}
        transport: Any = client._sender._http._transport
        assert (used(client), idle_connections(client)) == (set(), [])
        await until(lambda: not transport._connections.deadlines._due)


async def test_idle_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was not used for a while is reset."""
    monkeypatch.setattr(connections, "IDLE_CONNECTION_S", 0.1)
    async with listening() as api, open_client() as client:
        await allocate(client, account(api.url))
        transport: Any = client._sender._http._transport
        assert len(idle_connections(client)) == 1
        await until(lambda: not transport._connections.idle)
        assert isinstance(await allocate(client, account(api.url)), Allocated)
        assert [request.connection for request in api.requests] == [1, 2]


async def test_a_finished_call_is_not_ended() -> None:
    """A deadline applies only to a call that is still in flight."""

    class Job:
        ended = False

        def end(self, error: Exception | None) -> None:
            assert isinstance(error, TimeoutError)
            self.ended = True

    deadlines, jobs = Deadlines(), [Job(), Job()]
    ticks = [deadlines.add(job, 0.1) for job in jobs]
    deadlines.discard(jobs[0], ticks[0])
    await until(lambda: jobs[1].ended)
    assert not jobs[0].ended


@contextlib.contextmanager
def threaded_api(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """An API with a thread for each connection, so that it continues while the loop is blocked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield address(listener)
        listener.shutdown(socket.SHUT_RDWR)


STRAY = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}"


async def test_a_stray_response() -> None:
    """Data received while the process was stopped is not the response to the next call."""

    def serve(end: socket.socket) -> None:
        with end, contextlib.suppress(ConnectionError):
            while head := end.recv(65536):
                reference = "first" if b"first" in head else "second"
                end.sendall(response(200, allocated(reference)))
                if reference == "first":
                    was_read.wait()
                    end.sendall(STRAY)
                    is_sent.set()

    was_read, is_sent = threading.Event(), threading.Event()
    with threaded_api(serve) as url:
        async with open_client() as client:
            assert isinstance(await allocate(client, account(url), "first"), Allocated)
            was_read.set()
            is_sent.wait()  # the loop is blocked meanwhile
            assert isinstance(await allocate(client, account(url), "second"), Allocated)


async def test_a_response_to_half_a_request() -> None:
    """An API that responds before it has read the request gets no more of it afterwards."""
    got = 0

    async def responds_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(503, b"{}"))
        await early.wait()
        with contextlib.suppress(ConnectionError):
            while some := await reader.read(1 << 20):
                got += len(some)
        writer.transport.abort()
        over.set()

    early, over = asyncio.Event(), asyncio.Event()
    server = await asyncio.start_server(responds_early, "127.0.0.1", 0, limit=1 << 16)
    async with server, open_client() as client:
        merchant_account = account(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", {"default_rules": True})
        references = [f"{number:04}" + "x" * 200_000 for number in range(100)]
        await client.allocate(
            merchant_account, merchant_account.merchant.file.allocation.strategy, request(*references)
        )
        assert (used(client), idle_connections(client)) == (set(), [])
        early.set()
        await over.wait()
    assert got < sum(map(len, references))


ENDLESS = {
    "tiny chunks": b"1\r\nx\r\n",
    "a trailer": b"0\r\nx: y\r\n" + b"y" * 4096,
    "the size of a chunk": b"1;" + b"x" * 4096,
}


@pytest.mark.parametrize("what", ENDLESS.values(), ids=ENDLESS.keys())
async def test_endless_responses(what: bytes) -> None:
    """A response without an end, in any part of it, ends with the call, and delays no other call meanwhile."""

    async def never_ends(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 X\r\ntransfer-encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(what * 1000)
            await writer.drain()

    async with listening(never_ends) as api:
        assert isinstance(await call_once(api.url, timeout_s=1), Unknown)


async def test_a_connection_lost_with_another_error() -> None:
    """A connection that is lost for a reason of the loop counts as lost, and raises nothing else."""
    with socket.socket() as raw:
        connection = connections.Connection(connections.Origin("127.0.0.1", 1, is_tls=False), raw)
        connection._response = parser = ResponseParser()
        connection.connection_lost(RuntimeError("unable to perform operation"))
    with pytest.raises(OSError, match="RuntimeError"):
        await parser.head()
