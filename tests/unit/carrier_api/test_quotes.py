"""Quotes: which are parsed, and which is chosen."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.strategies.strategy import QuoteChoice
from tasks.rules.outcome import NotYet, Outcome, Refused, Stopped, Throttled, Unknown
from tests.unit.carrier_api.responses import EC, NOW, OTHER, REF, V1, V2, api_error, api_response
from worker.carrier_api.quotes import Offer, choose

TIMES = st.none() | st.timedeltas(timedelta(days=-9), timedelta(days=9)).map(lambda delta: NOW + delta)
PRICES = st.none() | st.decimals(0, 999, places=2).map(str)
OFFERS = st.lists(
    st.builds(Offer, reference=st.text(min_size=1, max_size=2), gross=PRICES, delivery_end=TIMES, expires=TIMES)
)


def _offer(reference: str, gross: str | None, days: int | None) -> Offer:
    return Offer(
        reference=reference,
        gross=gross,
        delivery_end=None if days is None else NOW + timedelta(days=days),
    )


def _measure(offer: Offer, by: QuoteChoice) -> Any:
    if by == "earliest":
        return offer.delivery_end
    return None if offer.gross is None else Decimal(offer.gross)


@given(OFFERS, st.sampled_from(["cheapest", "earliest"]))
def test_choice_is_the_best_valid_quote(offers: list[Offer], by: QuoteChoice) -> None:
    """No unexpired quote is better than the chosen one, and there is a choice whenever there is an unexpired quote."""
    living = [offer for offer in offers if offer.expires is None or offer.expires > NOW]
    chosen = choose(offers, by, NOW)
    assert (chosen is None) == (not living)
    if chosen:
        assert chosen in living
        assert isinstance(chosen, Offer)
        known = [_measure(offer, by) for offer in living]
        assert _measure(chosen, by) == min((value for value in known if value is not None), default=None)


def test_ties() -> None:
    """Of equal prices the earlier is chosen, of equal times the cheaper; unknown values come last."""
    slow, fast, dear, blank = _offer("a", "2", 3), _offer("b", "2.00", 1), _offer("c", "3", 1), _offer("d", None, None)
    for offers in ([slow, fast, dear, blank], [blank, dear, fast, slow]):
        assert choose(offers, "cheapest", NOW) == choose(offers, "earliest", NOW) == fast
    assert choose([blank], "cheapest", NOW) == blank


def test_expired_at_its_expiry() -> None:
    """A quote is invalid from its time of expiry on."""
    offer = Offer(reference="a", expires=NOW)
    assert choose([offer], "cheapest", NOW) is None
    assert choose([offer], "cheapest", NOW - timedelta(microseconds=1)) == offer


def test_quote_of_v2() -> None:
    """A v2 quote is parsed field by field; one without a reference or for another shipment is omitted."""
    quote: dict[str, Any] = {
        "reference": "qu_1",
        "shipment_reference": REF,
        "carrier": {"reference": "P"},
        "delivery_date": {"end": "2026-11-22T10:00:00+00:00"},
        "price": {"net": 1.10, "gross": 1.32, "currency": "gbp"},
        "expires": "2026-11-21T11:00:00Z",
    }
    quotes = [quote, {**quote, "shipment_reference": OTHER}, {**quote, "reference": None}, None]
    assert V2.parse_quotes(REF, api_response(201, {"quotes": quotes}), NOW) == (
        Offer(
            reference="qu_1",
            gross="1.32",
            currency="GBP",
            delivery_end=NOW + timedelta(days=1),
            expires=NOW + timedelta(hours=1),
        ),
    )


def test_quote_of_v1_as_xml() -> None:
    """A v1 quote in XML is parsed like one in JSON."""
    body = f"""<QuotesResponse><Quotes><Quote><QuoteReference>q</QuoteReference><ConsignmentReference>{EC}
        </ConsignmentReference><Price><Net>1</Net><Gross>1.20</Gross><Currency>
        <IsoCode>EUR</IsoCode></Currency></Price><ExpiryDate>2026-11-21T12:00:00+01:00
        </ExpiryDate><Legs><Leg><CarrierService><CarrierReference>RM</CarrierReference></CarrierService></Leg></Legs>
        </Quote></Quotes></QuotesResponse>"""
    assert V1.parse_quotes(EC, api_response(200, body.encode()), NOW) == (
        Offer(
            reference="q",
            gross="1.20",
            currency="EUR",
            expires=NOW + timedelta(hours=1),
        ),
    )


EXCLUDED = [{"carrier": {"service_name": "Fast"}, "exclusion": {"reason": "too heavy", "code": "ex_weight"}}]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (201, {"quotes": [], "excluded_services": EXCLUDED}, (Refused, "no_quotes_available")),
        (201, {"quotes": None}, (Refused, "no_quotes_available")),
        (201, {}, (Unknown, "unreadable_response")),
        (201, {"quotes": ["?"]}, (Unknown, "unreadable_response")),
        (200, b"<html>", (Unknown, "unreadable_response")),
        (404, b"", (Stopped, "shipment_not_found")),
        (404, {"code": "processing"}, (NotYet, "processing")),
        (429, b"", (Throttled, "throttled")),
        (531, b"", (Refused, "no_quotes_available")),
        (502, b"", (Unknown, "server_error")),
    ],
)
def test_no_quotes_from_v2(status: int, body: Any, expected: object) -> None:
    """Without a usable quote, the outcome of the quote request."""
    outcome = V2.parse_quotes(REF, api_response(status, body), NOW)
    assert not isinstance(outcome, tuple)
    assert (type(outcome), outcome.reason) == expected


def test_excluded_services_are_named() -> None:
    """A response without quotes lists the reasons, both under 201 and 531."""
    expected = Refused(reason="no_quotes_available", message="Fast: too heavy")
    assert V2.parse_quotes(REF, api_response(201, {"quotes": [], "excluded_services": EXCLUDED}), NOW) == expected
    assert V2.parse_quotes(REF, api_response(531, {"excluded_services": EXCLUDED}), NOW) == expected
    assert V2.parse_quotes(REF, api_error(429, "rule_conflict"), NOW) == Refused(
        reason="conflict", message="no; about rule_conflict", correlation_id="c-1"
    )


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"Quotes": []}, (Refused, "no_quotes_available", False)),
        (
            200,
            {"Quotes": [], "UnqualifiedServices": [{"ExclusionReason": "x"}]},
            (Refused, "no_quotes_available", True),
        ),
        (200, [], (Unknown, "unreadable_response", None)),
        (400, b"", (Refused, "refused", False)),
        (404, b"", (Refused, "refused", False)),
        (500, b"", (Unknown, "server_error", None)),
    ],
)
def test_no_quotes_from_v1(status: int, body: Any, expected: object) -> None:
    """v1 names a cause only in its list of unqualified services; without one a refusal is uncertain."""
    outcome: Outcome | tuple[Offer, ...] = V1.parse_quotes(EC, api_response(status, body), NOW)
    assert not isinstance(outcome, tuple)
    assert (type(outcome), outcome.reason, getattr(outcome, "certain", None)) == expected
