"""HTTP to the carrier's side: httpx over aiohttp, with errors that say whether a request may have gone out."""

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

CONNECT_TIMEOUT_S = 5.0
IDLE_CONNECTION_S = 15.0
MAX_BODY_BYTES = 4 * 1024 * 1024

ALWAYS_SENT = {"user-agent": "allocation-worker", "accept-encoding": "gzip"}

_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
"""DNS, refusal, TLS handshake, connect timeout: all of them before the first byte of the request."""


class NotSentError(httpx.ConnectError):
    """The request did not leave this machine."""


class LostAnswerError(httpx.ReadError):
    """The request may have gone out; what became of it is not known."""


class Transport(AiohttpTransport):
    """Maps the lower library's errors by their own types, as the adapter's mapping takes resets for refusals."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, once.

        Raises NotSentError or LostAnswerError, nothing else for trouble on the wire.
        """
        try:
            return await super().handle_async_request(request)
        except (httpx.TransportError, aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            cause = error.__cause__ or error
            if isinstance(cause, _NOT_SENT):
                raise NotSentError(type(cause).__name__, request=request) from error
            raise LostAnswerError(type(cause).__name__, request=request) from error


def new_session() -> aiohttp.ClientSession:
    """An aiohttp session that sends every request exactly once; needs a running loop.

    As it comes, aiohttp takes PUT for idempotent and silently sends it again when a kept-alive connection drops
    under it. There is no public switch (`_retry_connection` is what its own test client uses); a test on a real socket
    guards it. The number of connections is bounded by the calls we make, so the pool has no cap of its own to wait at.
    """
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_S, ttl_dns_cache=30)
    session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
    session._retry_connection = False  # noqa: SLF001  # see above
    return session


class CarrierClient(httpx.AsyncClient):
    """An httpx client straight to its transport: without auth flows, redirects and cookies, none of which we want.

    They are a quarter of its time. (`send` stays httpx's own, so that whatever watches it still sees every request.)
    """

    async def _send_handling_auth(self, request: httpx.Request, *_: object, **__: object) -> httpx.Response:
        response = await self._transport.handle_async_request(request)
        response.request = request
        return response


def new_client() -> CarrierClient:
    """The process's one client; nothing from the environment, neither proxies nor credentials."""
    return CarrierClient(transport=Transport(client=new_session), follow_redirects=False, trust_env=False)
