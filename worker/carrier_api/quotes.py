"""Quotes of carriers, and the choice among them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from config.strategies.strategy import QuoteChoice
from tasks.rules.outcome import Refused
from worker.carrier_api.fields import message, text
from worker.carrier_api.prices import readings

NOT_COMPARABLE = "no_comparable_quote"


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """One quote; None is not stated. The price is the API's text, the currency in upper case."""

    reference: str
    gross: str | None = None
    currency: str | None = None
    delivery_end: datetime | None = None
    expires: datetime | None = None


def choose(offers: Iterable[Offer], by: QuoteChoice, now: datetime) -> Offer | Refused | None:
    """The best offer that has not expired, with the other measure as a tie-breaker; None without one.

    Refused if the best one depends on the reading of a price, or on exchange rates.
    """
    living = [offer for offer in offers if offer.expires is None or offer.expires > now]
    if by == "earliest" and living:
        first = min(map(_time, living))
        living = [offer for offer in living if _time(offer) == first]
    return _cheapest([_Priced(offer) for offer in living]) if living else None


_UNKNOWN_PRICE = Decimal("Infinity")
_UNKNOWN_TIME = datetime.max.replace(tzinfo=UTC)

_Rank = tuple[Decimal, datetime, str]


def _time(offer: Offer) -> datetime:
    return offer.delivery_end or _UNKNOWN_TIME


class _Priced:
    """An offer with the lowest and highest rank that its price allows; without a price it ranks last."""

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        found = (_UNKNOWN_PRICE,) if offer.gross is None else readings(offer.gross)
        self.is_readable = bool(found)
        prices = found or (_UNKNOWN_PRICE,)
        self.lowest: _Rank = (prices[0], _time(offer), offer.reference)
        self.highest: _Rank = (prices[-1], _time(offer), offer.reference)

    def __str__(self) -> str:
        offer = self.offer
        price = "no price" if offer.gross is None else (text(offer.gross) or "")[:40]
        return " ".join(filter(None, (offer.reference[:40], price, (offer.currency or "")[:10])))


def _cheapest(offers: Sequence[_Priced]) -> Offer | Refused:
    """The offer that is best even if its price is read as high, and all others as low, as possible."""
    best = min(offers, key=lambda offer: offer.highest)
    rivals = [offer for offer in offers if offer.offer.reference != best.offer.reference]
    if rivals and (why := _not_comparable(offers)):
        return _refused(why, offers)
    if any(rival.lowest < best.highest for rival in rivals):
        return _refused("which is the cheapest depends on how the prices are read", offers)
    return best.offer


def _not_comparable(offers: Sequence[_Priced]) -> str | None:
    if not all(offer.is_readable for offer in offers):
        return "a price cannot be read"
    if len({offer.offer.currency for offer in offers if offer.offer.gross is not None}) > 1:
        return "the prices are not all in one currency"
    return None


def _refused(why: str, offers: Sequence[_Priced]) -> Refused:
    """The ambiguous quotes come first, as the message is truncated."""
    doubtful = sorted(offers, key=lambda offer: (offer.is_readable, offer.lowest))
    return Refused(reason=NOT_COMPARABLE, message=message(why, *map(str, doubtful)))
