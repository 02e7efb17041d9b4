"""The client of the allocation API: one call, one outcome for each shipment, and never an exception."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, cast
from urllib.parse import urlsplit

import httpx

from config.api import Api
from config.merchants import Merchant
from config.strategies.quote import call_with_quote
from config.strategies.strategy import Call, Flavour, Strategy
from tasks.outcome import Finding, NotSent, NotYet, Outcome, Unknown
from worker.pro.quotes import Offer, choose
from worker.pro.reply import Reply, unpacked
from worker.pro.transport import ALWAYS_SENT, CONNECT_TIMEOUT_S, MAX_BODY_BYTES, NotSentError, new_client
from worker.pro.wire import Wire, target, wire_for

Trouble = NotSent | Unknown
"""What a call came to that brought no answer."""


class ProApi:
    """Calls the API of every merchant through one HTTP client; build it inside the running loop."""

    def __init__(self, now: Callable[[], float], longest_call_s: float) -> None:
        """`now`: seconds since the epoch; `longest_call_s` bounds every merchant's `timeout_s`."""
        self._http = new_client()
        self._now = now
        self._longest_call_s = longest_call_s

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def allocate(
        self, merchant: Merchant, key: str, strategy: Strategy, references: Sequence[str]
    ) -> Mapping[str, Outcome]:
        """Ask for an allocation by one call; exactly one outcome for each reference."""
        api = merchant.file.api
        if api.flavour in strategy.needs_quote:
            (reference,) = references
            return {reference: await self._allocate_with_quote(api, key, strategy, reference)}
        return await self._ask(api, key, strategy, strategy.call(api.flavour, references, bulk=api.bulk), references)

    async def read_back(self, merchant: Merchant, key: str, reference: str) -> Finding:
        """Where the shipment stands at the API."""
        api = merchant.file.api
        wire = wire_for(api.flavour, api.format)
        answer = await self._send(api, key, wire, wire.find_call(reference))
        return wire.find(reference, answer, self._aware_now()) if isinstance(answer, Reply) else answer

    async def _ask(
        self, api: Api, key: str, strategy: Strategy, call: Call, references: Sequence[str]
    ) -> dict[str, Outcome]:
        wire = wire_for(api.flavour, api.format)
        answer = await self._send(api, key, wire, call)
        if isinstance(answer, Reply):
            return wire.read(strategy, references, answer, self._aware_now())
        return dict.fromkeys(references, answer)

    async def _allocate_with_quote(self, api: Api, key: str, strategy: Strategy, reference: str) -> Outcome:
        """Fetch the quotes and take the best that has not expired."""
        quotes = await self._quotes(api, key, strategy, reference)
        if not isinstance(quotes, tuple):
            return quotes
        offer = choose(quotes, strategy.choice, self._aware_now())
        if offer is None:
            return NotYet(reason="quote_expired", message="every quote had expired when it arrived")
        call = call_with_quote(api.flavour, reference, offer.reference)
        return (await self._ask(api, key, strategy, call, [reference]))[reference]

    async def _quotes(self, api: Api, key: str, strategy: Strategy, reference: str) -> tuple[Offer, ...] | Outcome:
        wire = wire_for(api.flavour, api.format)
        answer = await self._send(api, key, wire, strategy.call(api.flavour, [reference]))
        return wire.read_quotes(reference, answer, self._aware_now()) if isinstance(answer, Reply) else answer

    async def _send(self, api: Api, key: str, wire: Wire, call: Call) -> Reply | Trouble:
        """Send once. A body that breaks off, never ends or is enormous counts as far as it came: the status decides."""
        timeout_s = min(api.timeout_s, self._longest_call_s)
        response, body = None, bytearray()
        try:
            request = _request(api, wire, call, key, timeout_s)
        except (httpx.InvalidURL, ValueError) as error:
            return NotSent(reason="not_sent", message=f"{_host(api)}: {error}")
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._http.send(request, stream=True)
                await _read_into(body, response)
        except NotSentError as error:
            return NotSent(reason="not_sent", message=f"{_host(api)}: {error}")
        except (httpx.HTTPError, TimeoutError) as error:
            if response is None:
                reason = "timeout" if isinstance(error, TimeoutError) else "lost_answer"
                return Unknown(reason=reason, message=f"{_host(api)}: {str(error) or f'no answer in {timeout_s:g} s'}")
        finally:
            if response is not None:
                await response.aclose()
        return _reply(response, bytes(body), key)

    def _aware_now(self) -> datetime:
        return datetime.fromtimestamp(self._now(), UTC)


def _request(api: Api, wire: Wire, call: Call, key: str, timeout_s: float) -> httpx.Request:
    """A request for one call.

    Its path goes beside the URL, as httpx's extension `target`: parsing and escaping a URL that we have just escaped
    was a sixth of a call's time.
    """
    base = _base(api.base_url)
    # Well before the call's own end, so that one that never got through is not taken for one that was not answered.
    connect_s = min(CONNECT_TIMEOUT_S, timeout_s / 2)
    return httpx.Request(
        call.method,
        base,
        headers=_headers(api.flavour, api.format, key),
        stream=httpx.ByteStream(wire.encode(call) or b""),
        extensions={"target": base.raw_path.rstrip(b"/") + target(call).encode(), "timeout": {"connect": connect_s}},
    )


@lru_cache(maxsize=1024)
def _base(url: str) -> httpx.URL:
    return httpx.URL(url)


@lru_cache(maxsize=1024)
def _headers(flavour: Flavour, body_format: Literal["json", "xml"], key: str) -> httpx.Headers:
    return httpx.Headers({**ALWAYS_SENT, **wire_for(flavour, body_format).headers(key)})


async def _read_into(body: bytearray, response: httpx.Response) -> None:
    # Not `aiter_raw`, which comes to the same by way of three generators.
    stream = cast(httpx.AsyncByteStream, response.stream)
    async for chunk in stream:
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return


def _reply(response: httpx.Response, body: bytes, key: str) -> Reply:
    headers = response.headers
    plain = unpacked(body, headers.get("content-encoding", ""), MAX_BODY_BYTES)
    return Reply(
        status=response.status_code,
        # An error may repeat what it does not like, and its words go into events and logs.
        body=plain.replace(key.encode(), b"[key]") if response.is_error else plain,
        retry_after=headers.get("retry-after"),
        content_type=headers.get("content-type", ""),
    )


def _host(api: Api) -> str:
    return urlsplit(api.base_url).hostname or ""
