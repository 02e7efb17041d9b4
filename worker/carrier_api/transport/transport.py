"""HTTP to the carrier's side: httpx over our own connections, with errors that say whether a request went out."""

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
"""What opening one raises: uvloop and aiohappyeyeballs have their own ways to say that all addresses failed."""

_PORTS = {"http": 80, "https": 443}
_QUOTED = re.compile(r"(\n|\bb['\"]).*", re.DOTALL)
_TARGET = re.compile(rb"/[!-~]*")
_FORBIDDEN = re.compile(rb"[\0-\x08\n-\x1f\x7f]")


class NotSentError(httpx.ConnectError):
    """The request did not leave this machine."""


class WrittenTooLateError(NotSentError):
    """The request was not written by the time that the call named."""


class LostAnswerError(httpx.ReadError):
    """The request may have gone out; what became of it is not known."""


class BrokenAnswerError(LostAnswerError):
    """An answer came, and its frame cannot be trusted."""


class Transport(httpx.AsyncBaseTransport):
    """Sends every request at most once, by the time that its caller names or not at all.

    Its responses bring their `ResponseParser` as an extension: its headers are read faster than httpx's.

    It needs four of httpx's extensions for requests: `origin`, where the API listens; `target`, the path as it goes
    over the wire; `write_by`, until when the request must be written (seconds by `tasks.work.clock.boottime`); and of
    `timeout` two parts: `connect`, and `read`, which bounds all of it, from the connection to the end of the body.
    """

    def __init__(self, longest_call_s: float) -> None:
        """Nothing is opened yet. `longest_call_s`: how long a connection may wait for the other side's kernel."""
        self._longest_call_s = longest_call_s
        self._connections: Connections | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, once. A call that is given up, by an error or by cancelling it, resets its connection.

        Raises NotSentError (WrittenTooLateError, when that is why), LostAnswerError (BrokenAnswerError, for one that is
        not HTTP) or httpx.ReadTimeout, nothing else for trouble.
        """
        if self._connections is None:
            self._connections = Connections(self._longest_call_s)
        until = self._connections.time() + request.extensions["timeout"]["read"]
        connection = await self._connected(self._connections, request)
        answer = self._write(self._connections, connection, request)
        body = _Body(answer, connection, self._connections, until)
        try:
            await answer.head()
        except BaseException as error:
            await body.aclose()
            if isinstance(error, (BrokenError, OSError, EOFError)):
                raise _trouble(error, request) from error
            raise
        return httpx.Response(
            answer.status, headers=answer.raw_headers, stream=body, extensions={"answer": answer}, request=request
        )

    async def _connected(self, connections: Connections, request: httpx.Request) -> Connection:
        try:
            return await connections.get(request.extensions["origin"], request.extensions["timeout"]["connect"])
        except _NO_CONNECTION as error:
            raise NotSentError(f"no connection: {_cause(error)}", request=request) from error

    def _write(self, connections: Connections, connection: Connection, request: httpx.Request) -> ResponseParser:
        """Write it, or leave the connection, which may have taken long to come up, to the next try.

        The time is looked at in the same step of the loop that hands head and body, in one piece, to the socket. What
        is left is the time from that look to the system call, in which the process can still be stopped or the machine
        suspended: some Python without an `await`. What the kernel took and the other side did not acknowledge, the
        kernel repeats for as long as the connection lives; `TCP_USER_TIMEOUT` bounds it.
        """
        try:
            written = _written(request)
            if boottime() < request.extensions["write_by"]:
                return connection.ask(written)
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
    """The body of an answer, as it comes."""

    def __init__(self, answer: ResponseParser, connection: Connection, connections: Connections, until: float) -> None:
        self._answer = answer
        self._connection = connection
        self._connections = connections
        self._is_closed = False
        self._tick = connections.deadlines.add(answer, until - connections.time())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while await self._answer.more():
                yield self._answer.taken()
        except (BrokenError, OSError, EOFError) as error:
            raise _trouble(error) from error

    async def aclose(self) -> None:
        """Give the connection back, or reset it when something is still to come."""
        if not self._is_closed:
            self._is_closed = True
            self._connections.deadlines.discard(self._answer, self._tick)
            self._connections.give_back(self._connection)


def _trouble(error: Exception, request: httpx.Request | None = None) -> httpx.TransportError:
    if isinstance(error, TimeoutError):
        return httpx.ReadTimeout("", request=request)
    if isinstance(error, BrokenError):
        return BrokenAnswerError(f"broken HTTP: {_unquoted(str(error))}", request=request)
    return LostAnswerError(_cause(error), request=request)


def _cause(error: Exception) -> str:
    """What went wrong, in the library's words."""
    return f"{type(error).__name__}: {_unquoted(str(error))}".rstrip(": ")


def _unquoted(words: str) -> str:
    """The words of an error without the bytes that it quotes: they may be anything."""
    return _QUOTED.sub("", words).rstrip(": ")


def origin_of(url: httpx.URL) -> Origin:
    """Where the API behind a URL listens."""
    return Origin(url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme], url.scheme == "https")


def _written(request: httpx.Request) -> bytes:
    """The request as it goes over the wire. Raises ValueError for what would be another request there."""
    target: bytes = request.extensions["target"]
    if not _TARGET.fullmatch(target):
        raise ValueError("the path has characters that must be escaped")
    method, body = request.method.encode("ascii"), b"".join(cast(httpx.ByteStream, request.stream))
    length = b"" if method == b"GET" and not body else b"content-length: %d\r\n" % len(body)
    head = _head(request.url.netloc, tuple(request.headers.raw))
    return b"%b %b HTTP/1.1\r\n%b%b\r\n%b" % (method, target, head, length, body)


@lru_cache(maxsize=1024)  # they are the same in all of a merchant's calls
def _head(host: bytes, raw: tuple[tuple[bytes, bytes], ...]) -> bytes:
    if any(_FORBIDDEN.search(part) for line in raw for part in line):
        raise ValueError("a header has control characters")
    return b"".join(b"%b: %b\r\n" % line for line in ((b"host", host), *raw))


class CarrierClient(httpx.AsyncClient):
    """An httpx client straight to its transport: without auth flows, redirects and cookies, none of which we want.

    They are a quarter of its time. (`send` stays httpx's own, so that whatever watches it still sees every request.)
    """

    async def _send_handling_auth(self, request: httpx.Request, *_: object, **__: object) -> httpx.Response:
        return await self._transport.handle_async_request(request)


def new_client(longest_call_s: float) -> CarrierClient:
    """The process's one client; nothing from the environment, neither proxies nor credentials."""
    return CarrierClient(
        transport=Transport(longest_call_s), auth=httpx.Auth(), follow_redirects=False, trust_env=False
    )
