"""The arguments of the scripts that carry out what operators order, and count for them."""

from typing import NamedTuple


class CountArgs(NamedTuple):
    """See count_merchants.lua. Times in milliseconds."""

    now: int
    kept_since: int


class CausesArgs(NamedTuple):
    """See count_causes.lua. Times in milliseconds."""

    kept_since: int


class CountRow(NamedTuple):
    """A merchant to count."""

    merchant: str


class ReleaseHoldArgs(NamedTuple):
    """See release_hold.lua."""

    merchant: str


class CancelArgs(NamedTuple):
    """See cancel.lua."""

    merchant: str
    reference: str
    order: str
    at: str
    by: str
    why: str
    kept: int


class DismissArgs(NamedTuple):
    """See dismiss.lua."""

    order: str


class DismissRow(NamedTuple):
    """A failed shipment to mark as dealt with."""

    merchant: str
    reference: str
