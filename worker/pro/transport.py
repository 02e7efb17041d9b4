"""HTTP to the carrier's side: httpx over aiohttp, with errors that say whether a request may have gone out."""

import re
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import cast

import aiohttp
import httpx
from yarl import URL

from worker.pro.connections import WRITE_BY, LateError, new_session

CONNECT_TIMEOUT_S = 5.0
MAX_BODY_BYTES = 4 * 1024 * 1024

ALWAYS_SENT = {"user-agent": "allocation-worker", "accept-encoding": "gzip"}

_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
"""DNS, refusal, TLS handshake, connect timeout: all of them before the first byte of the request."""

_TROUBLE = (aiohttp.ClientError, OSError, TimeoutError, ValueError)


_QUOTED = re.compile(r"(\n|\bb['\"]).*", re.DOTALL)


class NotSentError(httpx.ConnectError):
    """The request did not leave this machine."""


class WrittenTooLateError(NotSentError):
    """The request was not written by the time that the call named."""


class LostAnswerError(httpx.ReadError):
    """The request may have gone out; what became of it is not known."""


class BrokenAnswerError(LostAnswerError):
    """An answer came, and its frame cannot be trusted."""


class Transport(httpx.AsyncBaseTransport):
    """Sends requests through an aiohttp session, which it makes at the first one: that needs the running loop.

    Its responses bring aiohttp's headers as the extension `headers`: they are read faster than httpx's.

    It knows three of httpx's extensions for requests: `target`, the path as it goes over the wire; `write_by`, until
    when the request must be written (seconds by `tasks.clock.boottime`); and of `timeout` the part that ends with the
    connection. How long an answer may take is the caller's to say, as it is one time for head and body.
    """

    def __init__(self, longest_call_s: float) -> None:
        """Nothing is opened yet. `longest_call_s`: how long a connection may wait for the other side's kernel."""
        self._longest_call_s = longest_call_s
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, once. A call that is given up, by an error or by cancelling it, resets its connection.

        Raises NotSentError (WrittenTooLateError, when that is why) or LostAnswerError (BrokenAnswerError, for one that
        is not HTTP), nothing else for trouble.
        """
        if self._session is None:
            self._session = new_session(self._longest_call_s)
        WRITE_BY.set(request.extensions["write_by"])
        try:
            answer = await self._session.request(
                request.method,
                _url(request),
                headers=_headers(tuple(request.headers.raw)),
                data=b"".join(cast(httpx.ByteStream, request.stream)) or None,
                timeout=_until_connected(request.extensions["timeout"]["connect"]),
                allow_redirects=False,
                auto_decompress=False,
            )
        except LateError as error:
            raise WrittenTooLateError("not written in time", request=request) from error
        except _NOT_SENT as error:
            raise NotSentError(type(error).__name__, request=request) from error
        except aiohttp.ClientResponseError as error:
            raise BrokenAnswerError(f"broken HTTP: {_unquoted(error.message)}", request=request) from error
        except _TROUBLE as error:
            raise LostAnswerError(_cause(error), request=request) from error
        return httpx.Response(
            answer.status,
            headers=answer.raw_headers,
            stream=_Body(answer),
            extensions={"headers": answer.headers},
            request=request,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


class _Body(httpx.AsyncByteStream):
    """The body of an answer, as it comes."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while chunk := await self._answer.content.readany():
                yield chunk
        except _TROUBLE as error:
            raise LostAnswerError(_cause(error)) from error

    async def aclose(self) -> None:
        """Give the connection back, or reset it when something is still unread."""
        self._answer.release()


def _cause(error: Exception) -> str:
    """What went wrong, in the library's words."""
    return f"{type(error).__name__}: {_unquoted(str(error))}".rstrip(": ")


def _unquoted(words: str) -> str:
    """The words of an error without the bytes that it quotes: they may be anything."""
    return _QUOTED.sub("", words).rstrip(": ")


def _url(request: httpx.Request) -> URL:
    target: bytes = request.extensions.get("target", request.url.raw_path)
    return _origin(str(request.url)).with_path(target.decode("ascii"), encoded=True)


@lru_cache(maxsize=1024)  # they are the same in all of a merchant's calls
def _headers(raw: tuple[tuple[bytes, bytes], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("ascii"), value.decode("ascii")) for name, value in raw)


@lru_cache(maxsize=1024)
def _origin(url: str) -> URL:
    return URL(url, encoded=True).origin()


@lru_cache(maxsize=64)
def _until_connected(seconds: float) -> aiohttp.ClientTimeout:
    """`connect` includes DNS and the wait for a place in the pool; neither can pass after a byte has gone out."""
    return aiohttp.ClientTimeout(total=None, connect=seconds, sock_connect=seconds)


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
