"""An API on bare sockets whose responses a test controls byte by byte, and calls to it."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from config.merchant_files.merchant_file import Merchant, MerchantFile
from tasks.rules.outcome import Finding, Outcome
from tasks.work import ports
from tasks.work.api import Api
from tasks.work.clock import boottime
from worker.carrier_api.client import CarrierApi

KEY = "a-key-that-must-stay-secret"
REFERENCE = "sp_1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A request as received; header names in lower case. `connection`: its number, from 1."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def reference(self) -> str:
        """The shipment in the path."""
        return self.target.split("/")[3]


Handler = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]
"""Writes any response; unless it closes the connection, the next request on it is read."""


@dataclass(kw_only=True)
class RawApi:
    """A listening API, and the requests it received."""

    url: str
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    async def serve(self, handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle the requests of a connection until it is closed."""
        self.connections += 1
        number = self.connections
        try:
            while request := await _read(reader, number):
                self.requests.append(request)
                await handler(request, writer)
        finally:
            writer.transport.abort()


def response(status: int, body: bytes = b"", *headers: str) -> bytes:
    """A complete response."""
    head = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def allocated(reference: str = REFERENCE) -> bytes:
    """The body of an allocated shipment."""
    return json.dumps({"state": "allocated", "shipment_reference": reference}).encode()


async def allocates(request: Request, writer: asyncio.StreamWriter) -> None:
    """Handler that allocates."""
    writer.write(response(200, allocated(request.reference)))


def responds_with(*parts: bytes) -> Handler:
    """Handler that sends these bytes and closes the connection."""

    async def handler(_: Request, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        writer.close()

    return handler


async def hangs(_request: Request, _writer: asyncio.StreamWriter) -> None:
    """Handler that reads the request and never responds."""
    await asyncio.Event().wait()


async def resets(_: Request, writer: asyncio.StreamWriter) -> None:
    """Handler that reads the request and resets the connection."""
    reset(writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST rather than FIN."""
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def listening(handler: Handler = allocates, listener: socket.socket | None = None) -> AsyncIterator[RawApi]:
    """An API on a free port, or on a socket that already listens, for the length of an `async with`."""
    connections: set[asyncio.Task[None]] = set()
    listener = listener or socket.create_server(("127.0.0.1", 0))
    api = RawApi(url=address(listener))

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.create_task(api.serve(handler, reader, writer)))

    server = await asyncio.start_server(connected, sock=listener)
    try:
        yield api
    finally:
        server.close()
        # A connection that is being accepted is in the set after one more iteration of the loop.
        await asyncio.sleep(0)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _read(reader: asyncio.StreamReader, connection: int) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    except (asyncio.IncompleteReadError, OSError):
        return None
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method=method, target=target, headers=headers, body=body, connection=connection)


def address(listener: socket.socket) -> str:
    """The URL of a listening socket."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def full_backlog() -> Iterator[socket.socket]:
    """A socket that accepts no connection until `listen` is called again."""
    with ExitStack() as open_sockets:
        listener, *waiting = [open_sockets.enter_context(socket.socket()) for _ in range(5)]
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for one in waiting:
            one.settimeout(0)
            one.connect_ex(listener.getsockname())
        yield listener


def account(url: str, strategy: Mapping[str, Any] | None = None, key: str | None = KEY, **api: Any) -> ports.Account:
    """An account of a merchant with this API and key; `api`: more of the `[api]` table."""
    table = {"flavour": "shipments-v2", "base_url": f"{url}/pro", "api_key": {"env": "KEY"}, **api}
    file = {"api": table, "allocation": {"strategy": strategy or {"virtual_service": "X"}}}
    merchant = Merchant(name="acme", file=MerchantFile.model_validate(file), digest="digest")
    return ports.Account(merchant=merchant, key=key, digest="digest", api="host#key")


def request(*references: str, within_s: float = 60.0) -> ports.Request:
    """A request for these shipments, to be written within so many seconds."""
    return ports.Request(references=references or (REFERENCE,), write_by=boottime() + within_s)


@asynccontextmanager
async def open_client(longest_call_s: float = 30.0) -> AsyncIterator[CarrierApi]:
    """A client, for the length of an `async with`."""
    api = CarrierApi(time.time, longest_call_s)
    try:
        yield api
    finally:
        await api.close()


def idle_connections(api: CarrierApi) -> list[Any]:
    """The open connections that a client would reuse."""
    transport: Any = api._sender._http._transport
    return [each for kept in transport._connections.idle.values() for each, _ in kept if each.is_free()]


async def allocate(api: Api, account: ports.Account, reference: str = REFERENCE, within_s: float = 60.0) -> Outcome:
    """Request an allocation of one shipment."""
    strategy = account.merchant.file.allocation.strategy
    outcomes = await api.allocate(account, strategy, request(reference, within_s=within_s))
    return outcomes[reference]


async def call_once(url: str, **api: Any) -> Outcome:
    """Make one call with a new client."""
    async with open_client() as client:
        return await allocate(client, account(url, **api))


async def quote_once(url: str, strategy: Mapping[str, Any] | None = None, **api: Any) -> Any:
    """Request quotes once with a new client."""
    async with open_client() as client:
        here = account(url, strategy or {"quote": "cheapest"}, **api)
        return await client.quote(here, here.merchant.file.allocation.strategy, request())


async def read_once(url: str, **api: Any) -> Finding:
    """Read back once with a new client."""
    async with open_client() as client:
        return await client.read_back(account(url, **api), request())


@contextmanager
def assert_faster_than(seconds: float) -> Iterator[None]:
    """Fails when the block takes longer."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds
