"""httpx over our own connections, with errors that say whether a request was sent."""

import re
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import cast

import httpx

from tasks.work.clock import boottime
from worker.carrier_api.transport.connections import Connection, Connections, Origin
from worker.carrier_api.transport.response_parser import BrokenError, ResponseParser

CONNECT_TIMEOUT_S = 5.0

ALWAYS_SENT = {"user-agent": "allocation-worker", "accept-encoding": "gzip"}

_NO_CONNECTION = (OSError, ValueError, RuntimeError, IndexError)
"""Errors of opening a connection; uvloop and aiohappyeyeballs have their own for "all addresses failed"."""

_PORTS = {"http": 80, "https": 443}
_QUOTED = re.compile(r"(\n|\bb['\"]).*", re.DOTALL)
_TARGET = re.compile(rb"/[!-~]*")
_FORBIDDEN = re.compile(rb"[\0-\x08\n-\x1f\x7f]")


class NotSentError(httpx.ConnectError):
    """The request was not sent."""


class WrittenTooLateError(NotSentError):
    """The request was not written before its deadline."""


class LostAnswerError(httpx.ReadError):
    """The request may have been sent; its outcome is unknown."""


class BrokenResponseError(LostAnswerError):
    """A response arrived whose framing cannot be trusted."""


class Transport(httpx.AsyncBaseTransport):
    """Sends every request at most once, before its deadline or not at all.

    Responses have their `ResponseParser` as an extension, whose headers are faster to read than httpx's.

    Requests need four httpx extensions: `origin`, where the API listens; `target`, the raw path; `write_by`, until
    when the request must be written (seconds by `tasks.work.clock.boottime`); and of `timeout` two parts: `connect`,
    and `read`, which bounds all of it, from the connection to the end of the body.
    """

    def __init__(self, longest_call_s: float) -> None:
        """Nothing is opened yet. `longest_call_s`: how long data may stay unacknowledged by the peer's kernel."""
        self._longest_call_s = longest_call_s
        self._connections: Connections | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request once. An abandoned call, by an error or by cancellation, resets its connection.

        Raises NotSentError (WrittenTooLateError if that is the reason), LostAnswerError (BrokenResponseError for a
        response that is not HTTP) or httpx.ReadTimeout, and no other error of the connection.
        """
        if self._connections is None:
            self._connections = Connections(self._longest_call_s)
        until = self._connections.time() + request.extensions["timeout"]["read"]
        connection = await self._connected(self._connections, request)
        parser = self._write(self._connections, connection, request)
        body = _Body(parser, connection, self._connections, until)
        try:
            await parser.head()
        except BaseException as error:
            await body.aclose()
            if isinstance(error, (BrokenError, OSError, EOFError)):
                raise _trouble(error, request) from error
            raise
        return httpx.Response(
            parser.status, headers=parser.raw_headers, stream=body, extensions={"parser": parser}, request=request
        )

    async def _connected(self, connections: Connections, request: httpx.Request) -> Connection:
        try:
            return await connections.get(request.extensions["origin"], request.extensions["timeout"]["connect"])
        except _NO_CONNECTION as error:
            raise NotSentError(f"no connection: {_cause(error)}", request=request) from error

    def _write(self, connections: Connections, connection: Connection, request: httpx.Request) -> ResponseParser:
        """Write the request, or leave the connection, which may have taken long to open, to the next try.

        The deadline is checked in the step of the event loop that passes head and body, in one piece, to the socket.
        The process can still be stopped between that check and the system call: some Python without an `await`. The
        kernel retransmits unacknowledged data while the connection lives, bounded by `TCP_USER_TIMEOUT`.
        """
        try:
            written = _written(request)
            if boottime() < request.extensions["write_by"]:
                return connection.send(written)
        except (OSError, ValueError) as error:
            connections.give_back(connection)
            raise NotSentError(str(error), request=request) from error
        connections.give_back(connection)
        raise WrittenTooLateError("not written in time", request=request)

    async def aclose(self) -> None:
        """Reset the connections."""
        if self._connections is not None:
            self._connections.close()


class _Body(httpx.AsyncByteStream):
    """The body of a response as it arrives."""

    def __init__(self, parser: ResponseParser, connection: Connection, connections: Connections, until: float) -> None:
        self._parser = parser
        self._connection = connection
        self._connections = connections
        self._is_closed = False
        self._tick = connections.deadlines.add(parser, until - connections.time())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while await self._parser.more():
                yield self._parser.taken()
        except (BrokenError, OSError, EOFError) as error:
            raise _trouble(error) from error

    async def aclose(self) -> None:
        """Return the connection to the pool, or reset it if the response is incomplete."""
        if not self._is_closed:
            self._is_closed = True
            self._connections.deadlines.discard(self._parser, self._tick)
            self._connections.give_back(self._connection)


def _trouble(error: Exception, request: httpx.Request | None = None) -> httpx.TransportError:
    if isinstance(error, TimeoutError):
        return httpx.ReadTimeout("", request=request)
    if isinstance(error, BrokenError):
        return BrokenResponseError(f"broken HTTP: {_unquoted(str(error))}", request=request)
    return LostAnswerError(_cause(error), request=request)


def _cause(error: Exception) -> str:
    """The library's error message."""
    return f"{type(error).__name__}: {_unquoted(str(error))}".rstrip(": ")


def _unquoted(words: str) -> str:
    """The message of an error without the bytes that it quotes."""
    return _QUOTED.sub("", words).rstrip(": ")


def origin_of(url: httpx.URL) -> Origin:
    """Where the API behind a URL listens."""
    return Origin(url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme], url.scheme == "https")


def _written(request: httpx.Request) -> bytes:
    """The request as bytes. Raises ValueError for headers or targets that would change the request."""
    target: bytes = request.extensions["target"]
    if not _TARGET.fullmatch(target):
        raise ValueError("the path has characters that must be escaped")
    method, body = request.method.encode("ascii"), b"".join(cast(httpx.ByteStream, request.stream))
    length = b"" if method == b"GET" and not body else b"content-length: %d\r\n" % len(body)
    head = _head(request.url.netloc, tuple(request.headers.raw))
    return b"%b %b HTTP/1.1\r\n%b%b\r\n%b" % (method, target, head, length, body)


@lru_cache(maxsize=1024)  # the same in all of a merchant's calls
def _head(host: bytes, raw: tuple[tuple[bytes, bytes], ...]) -> bytes:
    if any(_FORBIDDEN.search(part) for line in raw for part in line):
        raise ValueError("a header has control characters")
    return b"".join(b"%b: %b\r\n" % line for line in ((b"host", host), *raw))


class CarrierClient(httpx.AsyncClient):
    """An httpx client without auth flows, redirects and cookies, which are a quarter of its time.

    `send` stays httpx's own, so that instrumentation still sees every request.
    """

    async def _send_handling_auth(self, request: httpx.Request, *_: object, **__: object) -> httpx.Response:
        return await self._transport.handle_async_request(request)


def new_client(longest_call_s: float) -> CarrierClient:
    """The process's HTTP client; it uses neither proxies nor credentials of the environment."""
    return CarrierClient(
        transport=Transport(longest_call_s), auth=httpx.Auth(), follow_redirects=False, trust_env=False
    )
