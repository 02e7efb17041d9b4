"""Parses v2's requests for many shipments. Every such call queues its shipments."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictStr
from pydantic_core import PydanticCustomError

from worker.lab.sandbox.allocate import Pick, by_group
from worker.lab.sandbox.bodies import Body, parse
from worker.lab.sandbox.catalogue import OUTBOUND, SERVICES, Filters, selected
from worker.lab.sandbox.http_types import ApiError, caused

Strategy = Literal["default", "service", "service_group", "filters"]

PARTLY: dict[Strategy, int] = {"default": 407, "service": 207, "service_group": 407, "filters": 202}
"""The status when some shipments were rejected; it is 202 when none was."""

_MOST = 100


def _without_duplicates(references: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(references)) < len(references):
        raise PydanticCustomError("duplicate_reference", "A shipment is named twice")
    return references


class _Shipments(Body):
    shipments: Annotated[
        tuple[StrictStr, ...], Field(min_length=1, max_length=_MOST), AfterValidator(_without_duplicates)
    ]

    def pick(self) -> Pick:
        """The services that the default rules choose from."""
        return OUTBOUND


class _OfService(_Shipments):
    carrier_service_reference: StrictStr

    def pick(self) -> Pick:
        """The named service; unlike in a single call an unknown one is a 404."""
        reference = self.carrier_service_reference
        if reference in SERVICES:
            return (SERVICES[reference],)
        return caused(404, "not_found", "carrier_service_not_found", f"There is no carrier service {reference}.")


class _OfGroup(_Shipments):
    service_group: StrictStr

    def pick(self) -> Pick:
        """The services of the named group."""
        return by_group(self.service_group)


class _FilterBody(Body):
    direction: StrictStr
    pickup: StrictBool | None = None
    drop_off: StrictBool | None = None
    tags: frozenset[StrictStr] | None = None


class _Filtered(_Shipments):
    filters: _FilterBody

    def pick(self) -> Pick:
        """The services that match the filters."""
        stated = self.filters
        return selected(
            Filters(
                direction=stated.direction,
                pickup=stated.pickup,
                drop_off=stated.drop_off,
                tags=stated.tags or frozenset(),
            )
        )


_BODIES: dict[Strategy, type[_Shipments]] = {
    "default": _Shipments,
    "service": _OfService,
    "service_group": _OfGroup,
    "filters": _Filtered,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Many:
    """A well-formed request for many shipments."""

    strategy: Strategy
    references: tuple[str, ...]
    pick: Pick


def read_many(strategy: Strategy, body: bytes) -> Many | ApiError:
    """The request in a body, or what is wrong with it."""
    wanted = parse(_BODIES[strategy], body)
    if isinstance(wanted, ApiError):
        return wanted
    return Many(strategy=strategy, references=wanted.shipments, pick=wanted.pick())
