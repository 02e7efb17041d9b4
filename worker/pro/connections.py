"""Connections to APIs: each carries one request at a time, and what is given up is reset, so that nothing follows."""

import asyncio
import functools
import socket
import ssl
import struct
from collections import defaultdict
from typing import NamedTuple

import aiohappyeyeballs

from worker.deadlines import Deadlines
from worker.pro.answer import Answer

IDLE_CONNECTION_S = 15.0

ADDRESSES_S = 30.0
"""For so long what DNS said of a host is used."""

_NEXT_ADDRESS_S = 0.25
_RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)


class Origin(NamedTuple):
    """Where an API listens."""

    host: str
    port: int
    is_tls: bool


class Connection(asyncio.Protocol):
    """A connection that is never closed but reset: closing would still deliver what lies unsent in its buffer."""

    def __init__(self, origin: Origin) -> None:
        """Not up yet."""
        self.origin = origin
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None

    def ask(self, request: bytes) -> Answer:
        """Hand a request to the socket in one piece; returns the answer to come."""
        self._answer = Answer()
        if self._transport is None or self._transport.is_closing():
            self._answer.end(None)
        else:
            self._transport.write(request)
        return self._answer

    def is_free(self) -> bool:
        """Whether it is up and may carry a request."""
        answer_is_read = self._answer is None or (self._answer.keeps_alive and not self._answer.odd)
        return answer_is_read and self._transport is not None and not self._transport.is_closing()

    def reset(self) -> None:
        """Give it up, with all that was not delivered yet."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is up."""
        self._transport = transport  # type: ignore[assignment]  # of a stream, as asyncio passes it

    def data_received(self, data: bytes) -> None:
        """Take in what came. What nobody asked for would be taken for the next answer."""
        if self._answer is None:
            self.reset()
            return
        self._answer.feed(data)
        if self._answer.odd:
            self.reset()

    def eof_received(self) -> bool:
        """Nothing more comes, so it ends here too."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """It is down."""
        if self._answer is not None:
            self._answer.end(error)


class Connections:
    """The pool. It has no bound to wait at, as the number of connections is bounded by the calls we make."""

    def __init__(self, longest_call_s: float) -> None:
        """Nothing is opened yet. `longest_call_s`: how long a connection may wait for the other side's kernel."""
        self._open_socket = functools.partial(_open_socket, longest_call_s)
        self._loop = asyncio.get_running_loop()
        self._addresses = _Addresses(self._loop)
        self.deadlines = Deadlines()
        self.idle: dict[Origin, list[tuple[Connection, float]]] = defaultdict(list)
        self.used: set[Connection] = set()
        self._looking: asyncio.TimerHandle | None = None

    def time(self) -> float:
        """The loop's clock, in seconds."""
        return self._loop.time()

    async def get(self, origin: Origin, within_s: float) -> Connection:
        """A connection for one request. Raises OSError (TimeoutError among them) or ValueError if there is none."""
        kept = self.idle[origin]
        while kept:
            connection, _ = kept.pop()
            if connection.is_free():
                break
            connection.reset()
        else:
            async with asyncio.timeout(within_s):
                connection = await self._connect(origin)
        self.used.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep it for a while, if it can be used again."""
        if connection not in self.used:
            return
        self.used.discard(connection)
        if not connection.is_free():
            connection.reset()
            return
        self.idle[connection.origin].append((connection, self._loop.time()))
        if self._looking is None:
            self._looking = self._loop.call_later(IDLE_CONNECTION_S, self._drop_idle)

    def close(self) -> None:
        """Reset all of them."""
        for connection in [*self.used, *(each for kept in self.idle.values() for each, _ in kept)]:
            connection.reset()
        self.idle.clear()
        if self._looking is not None:
            self._looking.cancel()

    def _drop_idle(self) -> None:
        oldest = self._loop.time() - IDLE_CONNECTION_S
        for origin, kept in list(self.idle.items()):
            for connection, since in kept:
                if since <= oldest or not connection.is_free():
                    connection.reset()
            self.idle[origin] = [(connection, since) for connection, since in kept if connection.is_free()]
        self.idle = defaultdict(list, {origin: kept for origin, kept in self.idle.items() if kept})
        self._looking = self._loop.call_later(IDLE_CONNECTION_S / 4, self._drop_idle) if self.idle else None

    async def _connect(self, origin: Origin) -> Connection:
        addresses = await self._addresses.of(origin.host, origin.port)
        raw = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S, loop=self._loop, socket_factory=self._open_socket
        )
        # From here on the socket is the loop's, which closes it should this fail.
        _, connection = await self._loop.create_connection(
            lambda: Connection(origin),
            sock=raw,
            ssl=_tls() if origin.is_tls else None,
            server_hostname=origin.host if origin.is_tls else None,
        )
        return connection


class _Addresses:
    """What DNS says of hosts; who asks while it is being asked shares the question."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._known: dict[tuple[str, int], tuple[asyncio.Task[list[aiohappyeyeballs.AddrInfoType]], float]] = {}

    async def of(self, host: str, port: int) -> list[aiohappyeyeballs.AddrInfoType]:
        """The addresses of a host. Raises OSError or UnicodeError."""
        asking, until = self._known.get((host, port), (None, 0.0))
        if asking is None or self._loop.time() > until or _failed(asking):
            asking = self._loop.create_task(self._ask(host, port))
            self._known[host, port] = asking, self._loop.time() + ADDRESSES_S
        return await asyncio.shield(asking)

    async def _ask(self, host: str, port: int) -> list[aiohappyeyeballs.AddrInfoType]:
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        return list(found)


def _failed(asking: "asyncio.Task[list[aiohappyeyeballs.AddrInfoType]]") -> bool:
    return asking.done() and (asking.cancelled() or asking.exception() is not None)


def _open_socket(longest_call_s: float, address: aiohappyeyeballs.AddrInfoType) -> socket.socket:
    """A socket that is reset whenever it is closed, even by the kernel for a process that was killed.

    Data that is not acknowledged within the longest call resets it too, as far as the platform can do that.
    """
    family, kind, protocol, _, _ = address
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_WHEN_CLOSED)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(longest_call_s * 1000))
    return opened


@functools.cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
