"""Choose the plan of a shipment: the first rule of the merchant's file that matches, or the default."""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from config.merchant_files.conditions import Conditions, Range
from config.merchant_files.merchant_file import MerchantFile
from config.strategies.catalogue import AnyStrategy
from config.text import caseless, normal
from tasks.rules.order_event import OrderData, OrderShipment

DEFAULT_RULE = "default"


class Facts(NamedTuple):
    """The facts that rules use; None where the event does not state one."""

    country: str | None = None
    postcode: str | None = None
    shipping_method: str | None = None
    tags: tuple[str, ...] | None = None
    currency: str | None = None
    weight_kg: str | None = None
    value: str | None = None
    shipments: int = 1

    def as_table(self) -> dict[str, Any]:
        """The stated facts, for the ledger."""
        return {name: fact for name, fact in zip(self._fields, self, strict=True) if fact is not None}


class Plan(NamedTuple):
    """The first strategy and its fallback steps, the rule that chose them and why it matched."""

    rule: str
    why: str
    steps: tuple[AnyStrategy, ...]


def facts_of(order: OrderData, shipment: OrderShipment) -> Facts:
    """Gather the facts of one shipment."""
    destination, value = shipment.destination, shipment.value
    return Facts(
        country=destination.country if destination else None,
        postcode=destination.postcode if destination else None,
        shipping_method=order.shipping_method,
        tags=shipment.tags,
        currency=value.currency if value else None,
        weight_kg=None if shipment.weight_kg is None else str(shipment.weight_kg),
        value=None if value is None or value.amount is None else str(value.amount),
        shipments=len(order.shipments),
    )


def choose(file: MerchantFile, facts: Facts) -> Plan:
    """The plan for these facts; every call with the same arguments gives the same plan."""
    for rule in file.rules:
        if why := matches(rule.when, facts):
            return Plan(rule=rule.name, why=why, steps=(rule.strategy, *rule.fallback))
    default = file.allocation
    why = "no rule matched" if file.rules else "the file has no rules"
    return Plan(rule=DEFAULT_RULE, why=why, steps=(default.strategy, *default.fallback))


def matches(when: Conditions, facts: Facts) -> str | None:
    """Why the conditions hold for the facts ("country GB is one of GB, IE; ..."), or None when one does not."""
    reasons: list[str] = []
    for name in sorted(when.model_fields_set):
        reason = _holds(name, getattr(when, name), facts)
        if reason is None:
            return None
        reasons.append(reason)
    return "; ".join(reasons)


def _holds(name: str, wanted: Any, facts: Facts) -> str | None:  # words or a range, by the name
    match name:
        case "country" | "shipping_method" | "currency":
            return _one_of(name, wanted, getattr(facts, name))
        case "postcode_prefix":
            return _prefix(wanted, facts.postcode)
        case "tags_any":
            return _tags(name, _shared(wanted, facts.tags), needed=1)
        case "tags_all":
            return _tags(name, _shared(wanted, facts.tags), needed=len(wanted))
        case _:
            return _in_range(name, wanted, getattr(facts, name))


def _one_of(name: str, wanted: tuple[str, ...], fact: str | None) -> str | None:
    if fact is None or caseless(fact) not in _caseless(wanted):
        return None
    return f"{name} {fact} is {'one of ' if len(wanted) > 1 else ''}{', '.join(wanted)}"


# Values of files are cached, as they recur with every order; values of orders are not.
@lru_cache(maxsize=1024)
def _caseless(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(caseless, words))


def _prefix(wanted: tuple[str, ...], postcode: str | None) -> str | None:
    """Spaces count: otherwise the prefix M11 would match M1 1AE."""
    if postcode is None:
        return None
    whole = caseless(postcode)
    found = (prefix for prefix, begin in zip(wanted, _beginnings(wanted), strict=True) if whole.startswith(begin))
    return next((f"postcode begins with {prefix}" for prefix in found), None)


@lru_cache(maxsize=1024)
def _beginnings(prefixes: tuple[str, ...]) -> tuple[str, ...]:
    """A blank at the end is part of the prefix."""
    return tuple(caseless(prefix) + (" " if prefix[-1].isspace() else "") for prefix in prefixes)


def _shared(wanted: tuple[str, ...], tags: tuple[str, ...] | None) -> list[str]:
    stated = {normal(tag) for tag in tags or ()}
    return [tag for tag in wanted if normal(tag) in stated]


def _tags(name: str, found: Sequence[str], needed: int) -> str | None:
    return f"{name} {', '.join(found)}" if len(found) >= needed else None


def _in_range(name: str, wanted: Range, fact: str | int | None) -> str | None:
    if fact is None:
        return None
    number = Decimal(fact)
    bounds = {
        "over": lambda bound: number > bound,
        "under": lambda bound: number < bound,
        "at_least": lambda bound: number >= bound,
        "at_most": lambda bound: number <= bound,
    }
    stated = [(word, getattr(wanted, word)) for word in bounds if getattr(wanted, word) is not None]
    if not all(bounds[word](bound) for word, bound in stated):
        return None
    return f"{name} {fact} is " + " and ".join(f"{word.replace('_', ' ')} {bound}" for word, bound in stated)
