"""Sends a request, and returns its response or why there is none; never raises."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, cast
from urllib.parse import urlsplit

import httpx

from config.merchant_files.api import Api
from config.strategies.strategy import Flavour, RequestSpec
from tasks.rules.outcome import PERMIT_EXPIRED, NotSent, Unknown
from tasks.work.ports import Account
from worker.carrier_api.bodies import UnreadableError, as_utf8, unpacked
from worker.carrier_api.dialect import dialect_for, target
from worker.carrier_api.redaction import redacted, redacted_text
from worker.carrier_api.response import ApiResponse
from worker.carrier_api.transport.connections import Origin
from worker.carrier_api.transport.response_parser import MAX_BODY_BYTES, ResponseParser
from worker.carrier_api.transport.transport import (
    ALWAYS_SENT,
    CONNECT_TIMEOUT_S,
    BrokenResponseError,
    NotSentError,
    WrittenTooLateError,
    new_client,
    origin_of,
)

Trouble = NotSent | Unknown
"""The outcome of a request without a response."""


class Sender:
    """One HTTP client for all merchants."""

    def __init__(self, longest_call_s: float) -> None:
        """`longest_call_s` bounds every merchant's `timeout_s`."""
        self._http = new_client(longest_call_s)
        self._longest_call_s = longest_call_s

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(
        self, account: Account, call: RequestSpec, write_by: float, ours: Sequence[str] = ()
    ) -> ApiResponse | Trouble:
        """Send once; `ours`: the references it is about.

        A body that is incomplete, endless or too large counts as far as it arrived: the status decides.
        """
        api, key = account.merchant.file.api, account.key or ""
        timeout_s = min(api.timeout_s, self._longest_call_s)
        if self._http.is_closed:
            return NotSent(reason="not_sent", message=f"{_host(api)}: the client is closed")
        request = _request(api, call, key, timeout_s, write_by)
        if isinstance(request, NotSent):
            return request
        try:
            http_response = await self._http.send(request, stream=True)
        except NotSentError as error:
            reason = PERMIT_EXPIRED if isinstance(error, WrittenTooLateError) else "not_sent"
            return NotSent(reason=reason, message=f"{_host(api)}: {error}")
        except httpx.HTTPError as error:
            words = redacted_text(str(error), key) or f"no response in {timeout_s:g} s"
            return Unknown(reason=_reason(error), message=f"{_host(api)}: {words}")
        body, whole = await _body_of(http_response)
        return _response(http_response, body, key, ours=ours, whole=whole)


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "timeout"
    return "unreadable_response" if isinstance(error, BrokenResponseError) else "lost_response"


def _request(api: Api, call: RequestSpec, key: str, timeout_s: float, write_by: float) -> httpx.Request | NotSent:
    """The httpx request, if it can be built.

    Its path is passed as httpx's extension `target`: parsing and escaping a URL that was just escaped took a sixth of a
    call's time.
    """
    try:
        return httpx.Request(
            call.method,
            _base(api.base_url),
            headers=_headers(api.flavour, api.format, key, is_call=call.method == "GET"),
            stream=httpx.ByteStream(dialect_for(api.flavour, api.format).encode(call) or b""),
            extensions={
                "origin": _origin(api.base_url),
                "target": (_path(api.base_url) + target(call)).encode(),
                "write_by": write_by,
                # Connecting times out well before the call does, so that a call that never connected does not count as
                # one without a response.
                "timeout": {"connect": min(CONNECT_TIMEOUT_S, timeout_s / 2), "read": timeout_s},
            },
        )
    except (httpx.InvalidURL, ValueError) as error:
        return NotSent(reason="not_sent", message=f"{_host(api)}: {error}")


@lru_cache(maxsize=1024)
def _base(url: str) -> httpx.URL:
    return httpx.URL(url)


@lru_cache(maxsize=1024)
def _origin(url: str) -> Origin:
    return origin_of(_base(url))


@lru_cache(maxsize=1024)
def _path(url: str) -> str:
    return _base(url).raw_path.rstrip(b"/").decode("ascii")


@lru_cache(maxsize=1024)
def _headers(flavour: Flavour, body_format: Literal["json", "xml"], key: str, *, is_call: bool) -> httpx.Headers:
    """Read-backs must not come from a cache."""
    fresh = {"cache-control": "no-cache"} if is_call else {}
    return httpx.Headers({**ALWAYS_SENT, **dialect_for(flavour, body_format).headers(key), **fresh})


async def _body_of(http_response: httpx.Response) -> tuple[bytes, bool]:
    """As much of the body as arrived, up to the bound; and whether it is complete."""
    # Not `aiter_raw`, which does the same with three generators.
    stream, body = cast(httpx.AsyncByteStream, http_response.stream), bytearray()
    try:
        async for chunk in stream:
            body += chunk
    except httpx.HTTPError:
        return bytes(body), False
    finally:
        # Not the response's own `aclose`, which does nothing more for this stream.
        await stream.aclose()
    return bytes(body), True


def _response(http_response: httpx.Response, body: bytes, key: str, *, ours: Sequence[str], whole: bool) -> ApiResponse:
    parsed: ResponseParser = http_response.extensions["parser"]
    content_type, coding, trouble = parsed.first("content-type") or "", "", ""
    if "content-encoding" in parsed.headers:
        try:
            coding = ",".join(parsed.headers["content-encoding"])
            body = unpacked(body, coding, MAX_BODY_BYTES)
        except UnreadableError as error:
            body, trouble = b"", str(error)
    # All of this may go into events, messages and logs.
    plain = redacted(as_utf8(body, content_type), key, ours)
    if body and not plain:
        trouble = "the response repeats the key in an odd form"
    return ApiResponse(
        status=http_response.status_code,
        body=plain,
        whole=whole,
        retry_after=parsed.first("retry-after"),
        content_type=_redacted_type(content_type, key),
        date=parsed.first("date"),
        coding=redacted_text(coding, key),
        trouble=redacted_text(trouble, key),
        odd=parsed.odd,
    )


@lru_cache(maxsize=64)  # an API has one or two
def _redacted_type(content_type: str, key: str) -> str:
    return redacted_text(content_type, key)


def _host(api: Api) -> str:
    return urlsplit(api.base_url).hostname or ""
