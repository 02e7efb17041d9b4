"""aiohttp's side of the transport: every request goes out once, in time or not at all, and nothing of it afterwards."""

import functools
import re
import socket
import struct
from contextvars import ContextVar
from typing import cast

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.tracing import Trace

from tasks.clock import boottime

IDLE_CONNECTION_S = 15.0

LONGEST_HEADER, LONGEST_HEAD = 100 * 1024, 300 * 1024
MOST_HEADERS = 5000
"""What an answer may have before its body, in bytes and lines: curl's bounds."""

WRITE_BY: ContextVar[float] = ContextVar("WRITE_BY")
"""Until when the request of the running task may be written: aiohttp builds the request itself."""

ODD_FRAME = "x-odd-frame"
"""The header that we put into an answer whose frame is odd: it says how."""

_LENGTHS = re.compile(rb"\r\ncontent-length:[ \t]*([\d, \t]*)(?=\r\n|$)", re.IGNORECASE)
_MOST_DIGITS = 18
_RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)


class LateError(Exception):
    """The time until which the request may be written has passed: not a byte of it was."""


class TimedRequest(aiohttp.ClientRequest):
    """A request that is written before `WRITE_BY` or not at all; seconds by `tasks.clock.boottime`.

    The time is looked at in the same step of the loop that hands head and body, in one piece, to the socket. What is
    left is the time from that look to the system call, in which the process can still be stopped or the machine
    suspended: some Python without an `await`. (Before Python 3.12 aiohttp writes a body in a task of its own, in the
    loop's next turn, so we look again there.) What the kernel took and the other side did not acknowledge, the kernel
    repeats for as long as the connection lives; `TCP_USER_TIMEOUT` bounds it.
    """

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Write it, or leave the connection, which may have taken long to come up, to the next try."""
        if self._is_late():
            conn.release()
            raise LateError
        return await super().send(conn)

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        """Write head and body. Who waits for the answer learns that it is late, and gives the connection up."""
        if conn.protocol is not None and self._is_late():
            conn.protocol.set_exception(LateError())
            return
        await super().write_bytes(writer, conn, content_length)

    def _is_late(self) -> bool:
        return boottime() >= WRITE_BY.get()


class _Wire(ResponseHandler):
    """A connection that is never closed but reset: closing would still deliver what lies unsent in its buffer."""

    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Take in what came. An answer with an odd frame is passed on, and its connection used no more."""
        if self._payload is None or self._payload.is_eof():
            begins, end = data.startswith(b"HTTP/"), data.find(b"\r\n\r\n")
            self._head_bytes = (0 if begins else self._head_bytes) + (len(data) if end < 0 else end)
            mended = _mended(data) if begins else data
            self._should_close |= mended is not data
            data = mended
        if self._head_bytes > LONGEST_HEAD:
            self.set_exception(HttpProcessingError(message=f"Head of more than {LONGEST_HEAD} bytes"))
            self.close()
        else:
            super().data_received(data)

    def close(self) -> None:
        """Reset it. Whatever gives a connection up, here or in aiohttp, comes by here."""
        self.abort()


def _mended(data: bytes) -> bytes:
    """An answer with an odd frame as one whose frame is right, and that says by `ODD_FRAME` what was odd.

    Odd is one length that is said more than once, and more bytes than the length. aiohttp refuses whatever else is
    wrong with a head, and these two as well if the head comes in parts.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    said = [length.strip(b" \t") for lines in _LENGTHS.findall(head) for length in lines.split(b",")]
    if not end or not said or set(said) != {said[0]} or not said[0].isdigit() or len(said[0]) > _MOST_DIGITS:
        return data
    length = int(said[0])
    if len(said) == 1 and len(body) <= length:  # nearly always
        return data
    odd = "its length is said twice" if len(said) > 1 else "more bytes follow it"
    lines = f"\r\ncontent-length: {length}\r\n{ODD_FRAME}: {odd}"
    return _LENGTHS.sub(b"", head) + lines.encode() + end + body[:length]


class _Connector(aiohttp.TCPConnector):
    """The pool. It has no cap to wait at, as the number of connections is bounded by the calls we make."""

    def __init__(self, longest_call_s: float) -> None:
        super().__init__(
            limit=0,
            keepalive_timeout=IDLE_CONNECTION_S,
            ttl_dns_cache=30,
            socket_factory=functools.partial(_open_socket, longest_call_s),
        )
        # aiohttp has no public way to choose; tests on real sockets guard it.
        self._factory = cast(functools.partial[ResponseHandler], functools.partial(_Wire, loop=self._loop))

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp passes it so
    ) -> Connection:
        """A connection on which nothing has come in that nobody asked for: it would be taken for the answer."""
        while True:
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()


def _open_socket(longest_call_s: float, address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that is reset whenever it is closed, even by the kernel for a process that was killed.

    Data that is not acknowledged within the longest call resets it too, as far as the platform can do that.
    """
    family, kind, protocol, _, _ = address
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_WHEN_CLOSED)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(longest_call_s * 1000))
    return opened


def new_session(longest_call_s: float) -> aiohttp.ClientSession:
    """An aiohttp session that sends every request at most once; needs a running loop.

    As it comes, aiohttp takes PUT for idempotent and silently sends it again when a kept-alive connection drops
    under it. There is no public switch (`_retry_connection` is what its own test client uses); a test on a real socket
    guards it.
    """
    session = aiohttp.ClientSession(
        connector=_Connector(longest_call_s),
        request_class=TimedRequest,
        cookie_jar=aiohttp.DummyCookieJar(),
        max_line_size=LONGEST_HEADER,
        max_field_size=LONGEST_HEADER,
        max_headers=MOST_HEADERS,
    )
    session._retry_connection = False  # noqa: SLF001  # see above
    return session
