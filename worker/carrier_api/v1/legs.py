"""The legs of a v1 consignment: one for each carrier."""

from typing import Any

from worker.carrier_api.fields import small_number, tables, tokens


def in_order(legs: object) -> list[dict[str, Any]]:
    """The legs by number, which starts at 0 in one document of the vendor and at 1 in another."""
    found = tables(legs)
    # Nearly every consignment has one leg, which needs no sorting.
    return sorted(found, key=_number) if len(found) > 1 else found


def _number(leg: dict[str, Any]) -> float:
    number = small_number(leg.get("Leg"))
    return float("inf") if number is None else number


def tracking(legs: list[dict[str, Any]]) -> tuple[str, ...]:
    """The tracking references of all legs; a leg names one or a list of them."""
    return tuple([reference for leg in legs for reference in _of(leg)])


def _of(leg: dict[str, Any]) -> tuple[str, ...]:
    return tokens(leg.get("TrackingReferences")) or tokens([leg.get("TrackingReference")])
