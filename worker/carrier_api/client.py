"""The client of the allocation API: one call, one outcome per shipment, never an exception."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import urlsplit

from config.strategies.quote import request_with_quote
from config.strategies.strategy import RequestSpec, Strategy
from tasks.rules.outcome import Finding, NotYet, Outcome, Quoted, Refused, Unknown
from tasks.work.ports import Account, Request
from worker.carrier_api.dialect import dialect_for
from worker.carrier_api.fields import message, text
from worker.carrier_api.hosts import Hosts
from worker.carrier_api.http_status import in_words
from worker.carrier_api.quotes import choose
from worker.carrier_api.response import ApiResponse, retry_after_s
from worker.carrier_api.sender import Sender, Trouble


class CarrierApi:
    """Calls the API of every merchant through one HTTP client; build it inside the running loop."""

    def __init__(self, now: Callable[[], float], longest_call_s: float) -> None:
        """`now`: seconds since the epoch; `longest_call_s` bounds every merchant's `timeout_s`."""
        self._sender = Sender(longest_call_s)
        self._now = now
        self._hosts = Hosts()

    async def close(self) -> None:
        """Close the connections."""
        await self._sender.close()

    async def quote(self, account: Account, strategy: Strategy, request: Request) -> Quoted | Outcome:
        """Request the quotes of one shipment and choose the best that has not expired; allocates nothing."""
        (reference,) = request.references
        api = account.merchant.file.api
        response = await self._request(account, strategy.request(api.flavour, [reference]), request)
        if not isinstance(response, ApiResponse):
            return response
        now = self._responded_at(response)
        quotes = dialect_for(api.flavour, api.format).parse_quotes(reference, response, now)
        if not isinstance(quotes, tuple):
            return _explained(quotes, response)
        offer = choose(quotes, strategy.choice, now)
        if offer is None:
            return NotYet(reason="quote_expired", message="every quote had expired when it arrived")
        return offer if isinstance(offer, Refused) else Quoted(reference=offer.reference)

    async def allocate(
        self, account: Account, strategy: Strategy, request: Request, quote: str | None = None
    ) -> Mapping[str, Outcome]:
        """Request an allocation by one call; exactly one outcome for each reference."""
        response = await self._send(account, _allocation(account, strategy, request.references, quote), request)
        if not isinstance(response, ApiResponse):
            return dict.fromkeys(request.references, response)
        api, host, now = account.merchant.file.api, _host(account), self._responded_at(response)
        if foreign := self._hosts.foreign(host, response, now, is_call=False):
            return dict.fromkeys(request.references, foreign)
        outcomes = dialect_for(api.flavour, api.format).read(strategy, request.references, response, now)
        weighed = self._hosts.weighed(host, response, outcomes)
        return {reference: _explained(outcome, response) for reference, outcome in weighed.items()}

    async def read_back(self, account: Account, request: Request) -> Finding:
        """The state of the shipment at the API."""
        (reference,) = request.references
        api = account.merchant.file.api
        wire = dialect_for(api.flavour, api.format)
        response = await self._request(account, wire.read_back_request(reference), request)
        if not isinstance(response, ApiResponse):
            return response
        found = wire.find(reference, response, self._responded_at(response))
        return _explained(found, response) if isinstance(found, Unknown) else found

    async def _request(self, account: Account, call: RequestSpec, request: Request) -> ApiResponse | Trouble:
        """The response to a request that allocates nothing, or the outcome if it is not the API's."""
        response = await self._send(account, call, request)
        if isinstance(response, ApiResponse):
            return self._hosts.foreign(_host(account), response, self._responded_at(response), is_call=True) or response
        return response

    async def _send(self, account: Account, call: RequestSpec, request: Request) -> ApiResponse | Trouble:
        response = await self._sender.send(account, call, request.write_by, request.references)
        if not isinstance(response, ApiResponse):
            return response
        self._hosts.hear(_host(account), response)
        if response.odd and not all(map(response.names, request.references)):
            words = message(f"{in_words(response)}: {response.odd}, and it does not name the shipment")
            return Unknown(reason="unreadable_response", message=words)
        if response.is_half:
            wait_s = retry_after_s(response.retry_after, self._responded_at(response))
            reason = "unreadable_response" if response.trouble else "incomplete_response"
            words = message(f"{in_words(response)}, {text(response.trouble) or 'broken off'}")
            return Unknown(reason=reason, message=words, retry_after_s=wait_s)
        return response

    def _responded_at(self, response: ApiResponse) -> datetime:
        """When it was written: expiry times in it are by the clock that wrote it."""
        return response.written_at or datetime.fromtimestamp(self._now(), UTC)


def _explained(outcome: Outcome, response: ApiResponse) -> Outcome:
    """The outcome, with the parser's error if an unreadable response is why it is unknown."""
    if not isinstance(outcome, Unknown) or not (why := response.unread):
        return outcome
    return replace(outcome, message=message(outcome.message, text(why)))


def _allocation(account: Account, strategy: Strategy, references: Sequence[str], quote: str | None) -> RequestSpec:
    api = account.merchant.file.api
    if quote is None:
        return strategy.request(api.flavour, references, bulk=api.bulk)
    (reference,) = references
    return request_with_quote(api.flavour, reference, quote)


def _host(account: Account) -> str:
    return _host_of(account.merchant.file.api.base_url)


@lru_cache(maxsize=1024)
def _host_of(url: str) -> str:
    return urlsplit(url).netloc.lower()
