"""Connections to APIs: each carries one request at a time; an abandoned one is reset, so that nothing is sent later."""

import asyncio
import contextlib
import functools
import socket
from collections import defaultdict
from typing import NamedTuple

import aiohappyeyeballs

from tasks.work.clock import boottime
from worker.carrier_api.transport.response_parser import ResponseParser
from worker.carrier_api.transport.sockets import Addresses, open_socket, tls
from worker.deadlines import Deadlines

IDLE_CONNECTION_S = 15.0

_NEXT_ADDRESS_S = 0.25


class Origin(NamedTuple):
    """Where an API listens."""

    host: str
    port: int
    is_tls: bool


class Connection(asyncio.Protocol):
    """A connection that is reset instead of closed: closing would still deliver unsent data."""

    def __init__(self, origin: Origin, raw: socket.socket) -> None:
        """Not connected yet. `raw`: the socket that the loop reads and writes."""
        self.origin = origin
        self._raw = raw
        self._transport: asyncio.Transport | None = None
        self._response: ResponseParser | None = None

    def send(self, request: bytes) -> ResponseParser:
        """Write a request to the socket in one piece.

        Returns the parser of its response. Raises OSError if it is down.
        """
        if self._transport is None or self._transport.is_closing():
            raise ConnectionAbortedError("closed by the API")
        self._response = ResponseParser()
        self._transport.write(request)
        return self._response

    def is_free(self) -> bool:
        """Whether it may carry a request: the last one was sent completely, and its response has arrived completely."""
        if self._transport is None or self._transport.is_closing() or self._transport.get_write_buffer_size():
            return False
        return self._response is None or (self._response.keeps_alive and not self._response.odd)

    def rest(self) -> None:
        """Its last response has been read; further data is unexpected."""
        self._response = None

    def is_silent(self) -> bool:
        """Whether the kernel holds neither unexpected data nor an end of stream."""
        try:
            self._raw.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def reset(self) -> None:
        """Abandon it with all undelivered data."""
        if self._response is not None:
            self._response.end(ConnectionAbortedError("given up"))
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = transport  # type: ignore[assignment]  # of a stream, as asyncio passes it

    def data_received(self, data: bytes) -> None:
        """Parse received data. Unexpected data would be taken for the next response."""
        if self._response is None:
            self.reset()
            return
        self._response.feed(data)
        if self._response.odd:
            self.reset()

    def eof_received(self) -> bool:
        """End of stream: close this side too."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Disconnected. Event loops also pass errors of their own."""
        if self._response is not None:
            is_known = error is None or isinstance(error, OSError)
            self._response.end(error if is_known else ConnectionError(type(error).__name__))


class Connections:
    """The pool. It has no limit, as the number of connections is limited by the number of calls."""

    def __init__(self, longest_call_s: float) -> None:
        """Nothing is opened yet. `longest_call_s`: how long data may stay unacknowledged by the peer's kernel."""
        self._open_socket = functools.partial(open_socket, longest_call_s)
        self._loop = asyncio.get_running_loop()
        self._addresses = Addresses(self._loop)
        self.deadlines = Deadlines()
        self.idle: dict[Origin, list[tuple[Connection, float]]] = defaultdict(list)
        """Idle connections, each with the time by `boottime` since when it is idle."""
        self.used: set[Connection] = set()
        self._looking: asyncio.TimerHandle | None = None
        self._is_closed = False

    def time(self) -> float:
        """The loop's clock, in seconds."""
        return self._loop.time()

    async def get(self, origin: Origin, within_s: float) -> Connection:
        """A connection for one request. Raises OSError (including TimeoutError) or ValueError if none can be opened."""
        kept = self.idle[origin]
        while kept:
            connection, since = kept.pop()
            if connection.is_free() and boottime() < since + IDLE_CONNECTION_S and connection.is_silent():
                break
            connection.reset()
        else:
            async with asyncio.timeout(within_s):
                connection = await self._connect(origin)
        self.used.add(connection)
        if self._is_closed:
            self.give_back(connection)
            raise ConnectionAbortedError("the client is closed")
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep it for reuse, if it is reusable."""
        if connection not in self.used:
            return
        self.used.discard(connection)
        if self._is_closed or not connection.is_free():
            connection.reset()
            return
        connection.rest()
        self.idle[connection.origin].append((connection, boottime()))
        if self._looking is None:
            self._looking = self._loop.call_later(IDLE_CONNECTION_S, self._drop_idle)

    def close(self) -> None:
        """Reset all connections, including those being opened."""
        self._is_closed = True
        for connection in [*self.used, *(each for kept in self.idle.values() for each, _ in kept)]:
            connection.reset()
        self.idle.clear()
        if self._looking is not None:
            self._looking.cancel()

    def _drop_idle(self) -> None:
        oldest = boottime() - IDLE_CONNECTION_S
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
        try:
            _, connection = await self._loop.create_connection(
                lambda: Connection(origin, raw),
                sock=raw,
                ssl=tls() if origin.is_tls else None,
                server_hostname=origin.host if origin.is_tls else None,
            )
        except BaseException:
            # Not `close`: the loop may still watch it, and closes it itself at the end.
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)
            raise
        return connection
