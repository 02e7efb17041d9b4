"""Prices: possible readings of a text, and choices among quotes that are independent of them."""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.strategies.strategy import QuoteChoice
from tasks.rules.outcome import Refused
from tests.unit.carrier_api.responses import EC, NOW, REF, V1, V2, api_response
from worker.carrier_api.prices import UNREADABLE, readings
from worker.carrier_api.quotes import Offer, choose


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("98", ["98"]),
        ("98.00", ["98"]),
        ("35,65", ["35.65"]),
        ("+9.80", ["9.8"]),
        ("-9,80", ["-9.8"]),
        ("\N{MINUS SIGN}9.80", ["-9.8"]),
        (".5", ["0.5"]),
        (",5", ["0.5"]),
        ("5.", ["5"]),
        ("5,", ["5"]),
        ("007.50", ["7.5"]),
        ("1E+2", ["100"]),
        ("1.250e1", ["12.5"]),
        ("2,5e1", ["25"]),
        (" \t9.80\r\n", ["9.8"]),
        ("\u00a09.80\u202f", ["9.8"]),
        ("1.050", ["1.05", "1050"]),
        ("1,050", ["1.05", "1050"]),
        ("-1,234", ["-1234", "-1.234"]),
        ("123.456", ["123.456", "123456"]),
        ("0.500", ["0.5"]),
        ("012,345", ["12.345"]),
        ("1234.567", ["1234.567"]),
        ("33.2300", ["33.23"]),
        ("1.234,56", ["1234.56"]),
        ("1,234.56", ["1234.56"]),
        ("1,234.", ["1234"]),
        ("1.234.567", ["1234567"]),
        ("1,234,567.8", ["1234567.8"]),
        ("1 234", ["1234"]),
        ("1 234,56", ["1234.56"]),
        ("1\u00a0234,56", ["1234.56"]),
        ("1\u202f234\u202f567.89", ["1234567.89"]),
        ("1'234.56", ["1234.56"]),
        ("1\N{RIGHT SINGLE QUOTATION MARK}234,56", ["1234.56"]),
        ("", []),
        (".", []),
        ("+", []),
        ("1,23,4", []),
        ("1.234.56", []),
        ("1 23", []),
        ("1,234 567", []),
        ("1,234.567,8", []),
        ("12 345 67", []),
        ("1,234e2x", []),
        ("NaN", []),
        ("INF", []),
        ("n/a", []),
        ("9.80 GBP", []),
        ("1_000", []),
        ("٣", []),
        ("1e99999", []),
        ("9" * 99, []),
        (UNREADABLE, []),
    ],
)
def test_readings(text: str, numbers: list[str]) -> None:
    """Each text has the values that people or XML Schema mean by it, and no others."""
    assert readings(text) == tuple(map(Decimal, numbers))


@given(st.text("0123456789.,' \u00a0+-eE", max_size=12) | st.text())
def test_any_text_can_be_read(text: str) -> None:
    """Any text has at most two values, in order."""
    found = readings(text)
    assert len(found) <= 2
    assert list(found) == sorted(set(found))


@given(st.decimals(0, 10**9, places=2))
def test_grouped_prices_mean_the_same(price: Decimal) -> None:
    """A price with two digits after its separator has one value, however it is grouped."""
    english = f"{price:,}"
    marks = [str.maketrans(",.", pair) for pair in (",.", ".,", " ,", "'.", "\u00a0,", "\u202f.")]
    assert {readings(english.translate(table)) for table in marks} == {(price,)}


TIMES = st.none() | st.just(NOW)
CURRENCIES = st.sampled_from(["GBP", "EUR", None])
TEXTS = st.sampled_from([None, "1", "1,050", "1.050", "2.000", "2", "1 234", "1050", "9,5", "n/a"])
ONE_CURRENCY = st.lists(
    st.builds(Offer, reference=st.sampled_from("abcd"), gross=TEXTS, delivery_end=TIMES), max_size=5
)
OFFERS = st.lists(
    st.builds(Offer, reference=st.sampled_from("abcd"), gross=TEXTS, currency=CURRENCIES, delivery_end=TIMES),
    max_size=5,
)
CHOICES = st.sampled_from(["cheapest", "earliest"])


Way = tuple[Offer, Decimal | None]


def _every_way(offers: Sequence[Offer]) -> Iterator[list[Way]]:
    """The offers with every combination of price readings; an unreadable price may be anything."""
    anything = (Decimal(0), Decimal(10**9))
    ways = [[None] if offer.gross is None else readings(offer.gross) or anything for offer in offers]
    for prices in itertools.product(*ways):
        yield list(zip(offers, prices, strict=True))


def _best(ways: Sequence[Way], by: QuoteChoice) -> str:
    """The reference of the best offer, with one number as each price."""

    def rank(way: Way) -> tuple[Any, ...]:
        offer, price = way
        cost, late = Decimal("Infinity") if price is None else price, offer.delivery_end is None
        return (late, cost, offer.reference) if by == "earliest" else (cost, late, offer.reference)

    return min(ways, key=rank)[0].reference


@given(ONE_CURRENCY, CHOICES)
def test_a_choice_is_the_same_however_prices_are_read(offers: list[Offer], by: QuoteChoice) -> None:
    """A quote is chosen exactly when every combination of readings leads to it."""
    chosen = choose(offers, by, NOW)
    best = {_best(way, by) for way in _every_way(offers)} if offers else set()
    if chosen is None:
        assert offers == []
    elif isinstance(chosen, Offer):
        assert best == {chosen.reference}
    else:
        unread = any(offer.gross == "n/a" for offer in offers)
        assert len(best) > 1 or unread
        assert (chosen.reason, chosen.certain, len(chosen.message) <= 300) == ("no_comparable_quote", True, True)


@given(OFFERS, CHOICES, st.sampled_from([Decimal("0.0001"), Decimal(1), Decimal(10000)]), CURRENCIES)
def test_no_choice_depends_on_an_exchange_rate(
    offers: list[Offer], by: QuoteChoice, rate: Decimal, currency: str | None
) -> None:
    """Whatever the exchange rate of a currency, or of a missing one, the chosen quote stays the best."""
    chosen = choose(offers, by, NOW)
    if isinstance(chosen, Offer):
        for way in _every_way(offers):
            worth = [(o, price and price * (rate if o.currency == currency else 1)) for o, price in way]
            assert _best(worth, by) == chosen.reference


def _offer(reference: str, gross: str | None, currency: str | None = "GBP") -> Offer:
    return Offer(reference=reference, gross=gross, currency=currency)


@pytest.mark.parametrize(
    ("offers", "chosen"),
    [
        ([_offer("a", "98.00"), _offer("b", "35,65")], "b"),
        ([_offer("a", "98,00"), _offer("b", "35,65")], "b"),
        ([_offer("a", "1,050"), _offer("b", "2,000.00")], "a"),
        ([_offer("a", "1,050"), _offer("b", "500.00")], None),
        ([_offer("a", "1,050"), _offer("b", "1,050")], None),
        ([_offer("a", "1,050"), _offer("b", "1.04")], "b"),
        ([_offer("a", "5", "GBP"), _offer("b", "4", "EUR")], None),
        ([_offer("a", "5", "GBP"), _offer("b", "4", None)], None),
        ([_offer("a", "5", None), _offer("b", "4", None)], "b"),
        ([_offer("a", "5", "GBP"), _offer("b", None, "EUR")], "a"),
        ([_offer("a", "1,050")], "a"),
        ([_offer("a", "n/a")], "a"),
        ([_offer("a", "n/a"), _offer("b", "4")], None),
        ([_offer("a", None), _offer("b", "4")], "b"),
        ([_offer("a", None), _offer("b", None)], "a"),
        ([_offer("a", "4"), _offer("b", "n/a"), replace(_offer("c", "n/a"), expires=NOW)], None),
        ([_offer("a", "4"), replace(_offer("b", "n/a"), expires=NOW)], "a"),
        ([_offer("a", "4"), replace(_offer("b", "1", "EUR"), expires=NOW)], "a"),
    ],
)
def test_cheapest(offers: list[Offer], chosen: str | None) -> None:
    """The cheapest quote is chosen if it is certain; of the earliest quotes with the same time likewise."""
    for by in ("cheapest", "earliest"):
        found = choose(offers, by, NOW)
        assert (found.reference if isinstance(found, Offer) else found and found.certain and None) == chosen


def test_an_earlier_quote_needs_no_price() -> None:
    """For the earliest, prices matter only among quotes with the same time."""
    early = replace(_offer("early", "n/a", "EUR"), delivery_end=NOW)
    assert choose([_offer("late", "1"), early], "earliest", NOW) == early
    assert isinstance(choose([_offer("late", "1"), early], "cheapest", NOW), Refused)


def test_a_refusal_names_the_quotes() -> None:
    """The reason, and each quote with price and currency, uncertain ones first; the text is bounded."""
    offers = [_offer("a", "500.00"), _offer("b", "1,050", None), _offer("c", "?\n" * 90, "EUR"), _offer("d", None)]
    found = choose(offers, "cheapest", NOW)
    assert isinstance(found, Refused)
    assert found.message.startswith("a price cannot be read; c ? ? ?")
    assert found.message.endswith(" EUR; b 1,050; a 500.00 GBP; d no price GBP")
    many = choose([_offer(f"{n}" * 99, "1,050", "X" * 99) for n in range(99)], "cheapest", NOW)
    assert isinstance(many, Refused)
    assert len(many.message) == 300


@pytest.mark.parametrize(
    ("price", "gross", "currency"),
    [
        ({"gross": "35,65", "currency": "EUR"}, "35,65", "EUR"),
        ({"gross": " 9.80 ", "currency": " eur "}, " 9.80 ", "EUR"),
        ({"gross": None, "currency": ""}, None, None),
        ({"gross": " "}, None, None),
        ({"gross": True}, UNREADABLE, None),
        ({"gross": {"amount": "9.80"}, "currency": {"IsoCode": "GBP"}}, UNREADABLE, "GBP"),
        ("9.80", UNREADABLE, None),
        (None, None, None),
        ({}, None, None),
    ],
)
def test_price_of_a_quote(price: Any, gross: str | None, currency: str | None) -> None:
    """The price is the API's own text in both flavours; a price of another type is present but unreadable."""
    v1_price = {name.capitalize(): value for name, value in price.items()} if isinstance(price, dict) else price
    for found in (
        V2.parse_quotes(REF, api_response(200, {"quotes": [{"reference": "q", "price": price}]}), NOW),
        V1.parse_quotes(EC, api_response(200, {"Quotes": [{"QuoteReference": "q", "Price": v1_price}]}), NOW),
    ):
        assert found == (Offer(reference="q", gross=gross, currency=currency),)


@pytest.mark.parametrize(("dear", "chosen"), [(1.125, "q"), (1125, "q"), ("1.125", None)])
def test_the_point_of_a_json_number(dear: Any, chosen: str | None) -> None:
    """A JSON number has one reading; the same digits as text may have a thousands separator."""
    quotes = [{"reference": "p", "price": {"gross": dear}}, {"reference": "q", "price": {"gross": "1.10"}}]
    if dear == "1.125":
        quotes[1]["price"] = {"gross": "9.90"}
    offers = V2.parse_quotes(REF, api_response(200, json.dumps({"quotes": quotes}).encode()), NOW)
    assert isinstance(offers, tuple)
    found = choose(offers, "cheapest", NOW)
    assert (found.reference if isinstance(found, Offer) else None) == chosen
