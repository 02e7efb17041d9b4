"""The dialect of v1, "consignments": JSON or XML, no error codes, immediate results."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal

from config.strategies.strategy import RequestSpec, Strategy
from tasks.rules.outcome import Allocated, Carrier, Finding, Outcome, Price, Refused, Stopped, Unknown
from worker.carrier_api import carrier_price
from worker.carrier_api.fields import instant, message, named, table, tables, text, token
from worker.carrier_api.http_status import by_status, in_words
from worker.carrier_api.prices import currency, price_text
from worker.carrier_api.quotes import Offer
from worker.carrier_api.response import ApiResponse
from worker.carrier_api.states import finding
from worker.carrier_api.v1.legs import in_order, tracking
from worker.carrier_api.v1.summaries import error_outcome, parse_summaries
from worker.carrier_api.v1.xml import write_xml


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsignmentsV1:
    """Requests and responses of v1; see `worker.carrier_api.dialect.Dialect` for each method."""

    format: Literal["json", "xml"] = "json"

    def headers(self, key: str) -> dict[str, str]:
        """Key, version and format."""
        return {
            "ocp-apim-subscription-key": key,
            "electio-api-version": "1.1",
            "accept": f"application/{self.format}",
            "content-type": f"application/{self.format}",
        }

    def encode(self, call: RequestSpec) -> bytes | None:
        """The body in the merchant's format."""
        if call.body is None:
            return None
        if self.format == "xml" and call.root:
            return write_xml(call.root, call.body)
        return json.dumps(call.body).encode()

    def read(
        self, _strategy: Strategy, references: Sequence[str], response: ApiResponse, now: datetime, /
    ) -> dict[str, Outcome]:
        """The outcome for each consignment; it does not depend on the strategy."""
        return parse_summaries(references, response, now)

    def read_back_request(self, reference: str) -> RequestSpec:
        """`GET /consignments/{ref}`."""
        return RequestSpec(method="GET", path=("consignments", reference))

    def find(self, reference: str, response: ApiResponse, now: datetime, /) -> Finding:
        """The finding for the consignment."""
        match response.status:
            case HTTPStatus.OK:
                return _finding(reference, table(response.content))
            case HTTPStatus.NOT_FOUND:
                return Stopped(reason="shipment_not_found", message=in_words(response))
            case HTTPStatus.BAD_REQUEST:
                return Stopped(reason="invalid_request", message=in_words(response))
            case _:
                return by_status(response, now)

    def parse_quotes(self, reference: str, response: ApiResponse, now: datetime, /) -> tuple[Offer, ...] | Outcome:
        """The offers, or the outcome without any."""
        if response.status != HTTPStatus.OK:
            return error_outcome(response, now)
        body = table(response.content)
        quotes = body.get("Quotes", "unsaid")
        if offers := tuple(_offers(reference, tables(quotes))):
            return offers
        if quotes in (None, []):
            return _no_offers(body)
        return Unknown(reason="unreadable_response", message="the quotes cannot be read")


def _finding(reference: str, consignment: dict[str, Any]) -> Finding:
    if _reference(consignment) not in (None, reference):
        return Unknown(reason="other_shipment", message="the response is about another consignment")
    state = consignment.get("ConsignmentState") or consignment.get("Status")
    return finding(state, lambda: _allocated(consignment))


def _reference(consignment: dict[str, Any]) -> str | None:
    """The consignment of the response: the whole one, or the short form of `/status`."""
    own = text(consignment.get("Reference"))
    return own or text(consignment.get("ConsignmentReferenceForAllLegsAssignedByMpd"))


def _allocated(consignment: dict[str, Any]) -> Allocated:
    """The allocation of a consignment; it has no label links, and none are invented."""
    allocation = table(consignment.get("Allocation"))
    legs = in_order(consignment.get("ConsignmentLegs"))
    packages = tables(consignment.get("Packages"))
    return Allocated(
        carrier=_carrier(allocation, legs),
        price=_price(table(allocation.get("Price"))),
        # With several packages, each may have its own legs.
        tracking_references=tracking(legs)
        or tuple(found for package in packages for found in tracking(in_order(package.get("ConsignmentLegs")))),
    )


def _carrier(allocation: dict[str, Any], legs: list[dict[str, Any]]) -> Carrier | None:
    """The first leg names the carrier, the allocation its service."""
    first = legs[0] if legs else {}
    return carrier_price.carrier(
        first.get("CarrierReference"),
        first.get("CarrierName"),
        allocation.get("MpdCarrierServiceReference"),
        allocation.get("MpdCarrierServiceName"),
    )


def _price(price: dict[str, Any]) -> Price | None:
    return carrier_price.price(price.get("Net"), price.get("Gross"), table(price.get("Currency")).get("IsoCode"))


def _offers(reference: str, quotes: list[dict[str, Any]]) -> Iterator[Offer]:
    """The usable quotes: with a reference, and for this consignment."""
    for quote in quotes:
        name = token(quote.get("QuoteReference"))
        if name and text(quote.get("ConsignmentReference")) in (None, reference):
            price = quote.get("Price")
            yield Offer(
                reference=name,
                gross=price_text(price, "Gross"),
                currency=currency(table(price).get("Currency")),
                delivery_end=instant(quote.get("LatestDeliveryDate")),
                expires=instant(quote.get("ExpiryDate")),
            )


def _no_offers(body: dict[str, Any]) -> Refused:
    """No service made an offer. Without reasons it may also mean that the consignment is already allocated."""
    services = tables(body.get("UnqualifiedServices"))
    reasons = (named(service.get("MpdCarrierService"), service.get("ExclusionReason")) for service in services)
    words = message(text(body.get("Message")), *reasons)
    return Refused(reason="no_quotes_available", message=words, certain=bool(services))
