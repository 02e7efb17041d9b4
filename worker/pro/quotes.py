"""Quotes: offers of a carrier to take a shipment, and the choice among them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from config.strategies.strategy import QuoteChoice
from tasks.outcome import Carrier
from worker.pro.fields import decimal_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """One quote; what the API did not say is None. Prices are compared by their number, whatever the currency."""

    reference: str
    gross: Decimal | None = None
    net: Decimal | None = None
    delivery_end: datetime | None = None
    expires: datetime | None = None
    carrier: Carrier | None = None


def decimal(value: object) -> Decimal | None:
    """A price as a number to compare; None for anything else."""
    found = decimal_text(value)
    return None if found is None else Decimal(found)


def choose(offers: Iterable[Offer], by: QuoteChoice, now: datetime) -> Offer | None:
    """The best offer that has not expired, ties going by the other measure; None when there is none."""
    rank = _RANKS[by]
    return min((offer for offer in offers if offer.expires is None or offer.expires > now), key=rank, default=None)


_UNKNOWN_PRICE = Decimal("Infinity")
_UNKNOWN_TIME = datetime.max.replace(tzinfo=UTC)


def _price(offer: Offer) -> Decimal:
    return _UNKNOWN_PRICE if offer.gross is None else offer.gross


def _time(offer: Offer) -> datetime:
    return offer.delivery_end or _UNKNOWN_TIME


_RANKS: dict[QuoteChoice, Callable[[Offer], tuple[Any, ...]]] = {
    "cheapest": lambda offer: (_price(offer), _time(offer), offer.reference),
    "earliest": lambda offer: (_time(offer), _price(offer), offer.reference),
}
