"""The dialect of v2, "shipments": JSON, one version header, errors with codes."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

from config.strategies.strategy import RequestSpec, Strategy
from tasks.rules.outcome import Finding, Outcome, Refused, Unknown
from worker.carrier_api.fields import instant, table, tables, text, token
from worker.carrier_api.prices import currency, price_text
from worker.carrier_api.quotes import Offer
from worker.carrier_api.response import ApiResponse
from worker.carrier_api.states import finding
from worker.carrier_api.v2.errors import cause_of, error_outcome, parse_error
from worker.carrier_api.v2.results import allocated, parse_results

# v2 uses 407 when only some shipments of a call were queued.
_DECIDED = frozenset(
    {HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.MULTI_STATUS, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED}
)


class ShipmentsV2:
    """Requests and responses of v2; see `worker.carrier_api.dialect.Dialect` for each method."""

    def headers(self, key: str) -> dict[str, str]:
        """Key, version and format; the version is required on every request."""
        return {
            "x-api-key": key,
            "x-api-version": "1.1",
            "accept": "application/json",
            "content-type": "application/json",
        }

    def encode(self, call: RequestSpec) -> bytes | None:
        """The body as JSON."""
        return None if call.body is None else json.dumps(call.body).encode()

    def read(
        self, strategy: Strategy, references: Sequence[str], response: ApiResponse, now: datetime, /
    ) -> dict[str, Outcome]:
        """The outcome for each shipment."""
        if response.status in _DECIDED:
            return parse_results(references, response)
        return parse_error(strategy, references, response, now)

    def read_back_request(self, reference: str) -> RequestSpec:
        """`GET /shipments/{ref}`."""
        return RequestSpec(method="GET", path=("shipments", reference))

    def find(self, reference: str, response: ApiResponse, now: datetime, /) -> Finding:
        """The finding for the shipment."""
        if response.status == HTTPStatus.OK:
            return _finding(reference, table(response.json))
        outcome = error_outcome(response, now)
        # A read-back cannot be refused.
        return Unknown(reason=outcome.reason, message=outcome.message) if isinstance(outcome, Refused) else outcome

    def parse_quotes(self, reference: str, response: ApiResponse, now: datetime, /) -> tuple[Offer, ...] | Outcome:
        """The offers, or the outcome without any."""
        if response.status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            return error_outcome(response, now)
        body = table(response.json)
        quotes = body.get("quotes", "unsaid")
        if offers := tuple(_offers(reference, tables(quotes))):
            return offers
        if quotes in (None, []):
            return Refused(reason="no_quotes_available", message=cause_of(body).message)
        return Unknown(reason="unreadable_response", message="the quotes cannot be read")


def _finding(reference: str, shipment: dict[str, Any]) -> Finding:
    if text(shipment.get("reference")) not in (None, reference):
        return Unknown(reason="other_shipment", message="the response is about another shipment")
    holder = table(shipment.get("allocation"))
    return finding(shipment.get("state"), lambda: allocated(holder, _links(shipment)))


def _links(shipment: dict[str, Any]) -> list[dict[str, Any]]:
    """The vendor has label links in any of three places."""
    holders = (table(shipment.get("label_details")), table(shipment.get("allocation")), shipment)
    return [link for holder in holders for link in tables(holder.get("_links"))]


def _offers(reference: str, quotes: list[dict[str, Any]]) -> Iterator[Offer]:
    """The usable quotes: with a reference, and for this shipment."""
    for quote in quotes:
        name = token(quote.get("reference"))
        if name and text(quote.get("shipment_reference")) in (None, reference):
            price = quote.get("price")
            yield Offer(
                reference=name,
                gross=price_text(price, "gross"),
                currency=currency(table(price).get("currency")),
                delivery_end=instant(table(quote.get("delivery_date")).get("end")),
                expires=instant(quote.get("expires")),
            )
