"""Choose the plan of a shipment: the first rule of the merchant's file that matches, or the default."""

import operator
from collections.abc import Callable, Iterator, Mapping
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

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> "Facts":
        """The facts from the ledger; those that only a newer version knows are left out."""
        known = {name: table[name] for name in cls._fields if name in table}
        return cls(**known | ({"tags": tuple(known["tags"])} if "tags" in known else {}))


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
    for check in _checks(when, facts):
        if not check.holds:
            return None
        reasons.append(check.words)
    return "; ".join(reasons)


def why_not(when: Conditions, facts: Facts) -> str | None:
    """The first condition that does not hold ("weight_kg 1.2 is not over 20"), or None when all do."""
    return next((check.words for check in _checks(when, facts) if not check.holds), None)


class _Check(NamedTuple):
    """Whether a condition holds, and the fact that decided."""

    holds: bool
    words: str


def _checks(when: Conditions, facts: Facts) -> Iterator[_Check]:
    for name in sorted(when.model_fields_set):
        fact = getattr(facts, _FACT_OF.get(name, name))
        # No tags are as good as none stated.
        if fact is None or fact == ():
            yield _Check(holds=False, words=f"the order states no {_FACT_OF.get(name, name)}")
        else:
            yield _check(name, getattr(when, name), fact)


_FACT_OF = {"postcode_prefix": "postcode", "tags_any": "tags", "tags_all": "tags"}
"""The fact that a condition of another name is about."""


def _check(name: str, wanted: Any, fact: Any) -> _Check:  # words or a range, by the name
    match name:
        case "country" | "shipping_method" | "currency":
            return _one_of(name, wanted, fact)
        case "postcode_prefix":
            return _prefix(wanted, fact)
        case "tags_any":
            return _tags(name, wanted, fact, needed=1)
        case "tags_all":
            return _tags(name, wanted, fact, needed=len(wanted))
        case _:
            return _in_range(name, wanted, fact)


def _one_of(name: str, wanted: tuple[str, ...], fact: str) -> _Check:
    holds = caseless(fact) in _caseless(wanted)
    words = f"{name} {fact} is{'' if holds else ' not'}{' one of' if len(wanted) > 1 else ''} {', '.join(wanted)}"
    return _Check(holds, words)


# Values of files are cached, as they recur with every order; values of orders are not.
@lru_cache(maxsize=1024)
def _caseless(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(caseless, words))


def _prefix(wanted: tuple[str, ...], postcode: str) -> _Check:
    """Spaces count: otherwise the prefix M11 would match M1 1AE."""
    whole = caseless(postcode)
    for prefix, begin in zip(wanted, _beginnings(wanted), strict=True):
        if whole.startswith(begin):
            return _Check(holds=True, words=f"postcode begins with {prefix}")
    return _Check(holds=False, words=f"postcode {postcode} does not begin with {' or '.join(wanted)}")


@lru_cache(maxsize=1024)
def _beginnings(prefixes: tuple[str, ...]) -> tuple[str, ...]:
    """A blank at the end is part of the prefix."""
    return tuple(caseless(prefix) + (" " if prefix[-1].isspace() else "") for prefix in prefixes)


def _tags(name: str, wanted: tuple[str, ...], tags: tuple[str, ...], needed: int) -> _Check:
    stated = {normal(tag) for tag in tags}
    found = [tag for tag in wanted if normal(tag) in stated]
    if len(found) >= needed:
        return _Check(holds=True, words=f"{name} {', '.join(found)}")
    missing = [tag for tag in wanted if tag not in found]
    return _Check(holds=False, words=f"tags {', '.join(tags)} lack {' and '.join(missing)}")


_BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    "over": operator.gt,
    "under": operator.lt,
    "at_least": operator.ge,
    "at_most": operator.le,
}


def _in_range(name: str, wanted: Range, fact: str | int) -> _Check:
    number = Decimal(fact)
    stated = [(word, bound) for word in _BOUNDS if (bound := getattr(wanted, word)) is not None]
    missed = [(word, bound) for word, bound in stated if not _BOUNDS[word](number, bound)][:1]
    words = " and ".join(f"{word.replace('_', ' ')} {bound}" for word, bound in missed or stated)
    return _Check(not missed, f"{name} {fact} is {'not ' if missed else ''}{words}")
