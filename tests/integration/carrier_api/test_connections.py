"""Connections to APIs: each is given back or reset whatever becomes of its call, and no answer is another's."""

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
    """The connections that carry a request, as far as the client knows."""
    transport: Any = api._sender._http._transport
    found: set[Any] = transport._connections.used
    return found


async def test_a_promise_with_a_body() -> None:
    """What comes before the answer proper is no part of it."""
    async with listening(responds_with(PROMISE + response(200, allocated()))) as api:
        assert isinstance(await call_once(api.url), Allocated)


@pytest.mark.parametrize("turns", range(8))
async def test_a_call_that_is_cancelled_as_its_answer_comes(turns: int) -> None:
    """Its connection is in use no more, in whichever turn of the loop that happens."""
    call_record = asyncio.Event()

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, allocated(request.reference)))
        call_record.set()

    async with listening(answer) as api, open_client() as client:
        call = asyncio.create_task(allocate(client, account(api.url)))
        await call_record.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert used(client) == set()


async def test_calls_that_take_too_long_leave_nothing() -> None:
    """A call that was given up holds neither its connection nor its deadline."""
    async with listening(hangs) as api, open_client() as client:
        found = await asyncio.gather(*(allocate(client, account(api.url, timeout_s=0.2)) for _ in range(5)))
        assert {type(outcome) for outcome in found} == {Unknown}
        transport: Any = client._sender._http._transport
        assert (used(client), idle_connections(client)) == (set(), [])
        await until(lambda: not transport._connections.deadlines._due)


async def test_idle_connections_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that nobody has used for a while is reset."""
    monkeypatch.setattr(connections, "IDLE_CONNECTION_S", 0.1)
    async with listening() as api, open_client() as client:
        await allocate(client, account(api.url))
        transport: Any = client._sender._http._transport
        assert len(idle_connections(client)) == 1
        await until(lambda: not transport._connections.idle)
        assert isinstance(await allocate(client, account(api.url)), Allocated)
        assert [request.connection for request in api.requests] == [1, 2]


async def test_what_is_over_in_time_is_not_ended() -> None:
    """A deadline concerns only what still goes on then."""

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
def apart(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """An API in threads of its own, one for each connection, so that it goes on while the loop stands still."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield address(listener)
        listener.shutdown(socket.SHUT_RDWR)


STRAY = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}"


async def test_a_stray_answer_that_was_not_read_yet() -> None:
    """What came in while the process stood still is not taken for the answer to the next call."""

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
    with apart(serve) as url:
        async with open_client() as client:
            assert isinstance(await allocate(client, account(url), "first"), Allocated)
            was_read.set()
            is_sent.wait()  # the loop stands still meanwhile
            assert isinstance(await allocate(client, account(url), "second"), Allocated)


async def test_an_answer_to_half_a_request() -> None:
    """An API that answers before it has read the request gets no more of it afterwards."""
    got = 0

    async def answers_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
    server = await asyncio.start_server(answers_early, "127.0.0.1", 0, limit=1 << 16)
    async with server, open_client() as client:
        here = account(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", {"default_rules": True})
        references = [f"{number:04}" + "x" * 200_000 for number in range(100)]
        await client.allocate(here, here.merchant.file.allocation.strategy, request(*references))
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
async def test_what_has_no_end(what: bytes) -> None:
    """An answer without an end, in whatever part of it, ends with the call, and holds nobody up meanwhile."""

    async def goes_on(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 X\r\ntransfer-encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(what * 1000)
            await writer.drain()

    async with listening(goes_on) as api:
        assert isinstance(await call_once(api.url, timeout_s=1), Unknown)


async def test_a_loop_that_says_something_else() -> None:
    """A connection that is lost for a reason of the loop's own counts as lost, and raises nothing else."""
    with socket.socket() as raw:
        connection = connections.Connection(connections.Origin("127.0.0.1", 1, is_tls=False), raw)
        connection._response = answer = ResponseParser()
        connection.connection_lost(RuntimeError("unable to perform operation"))
    with pytest.raises(OSError, match="RuntimeError"):
        await answer.head()
