"""Parses v1's requests for many consignments, as JSON or XML. They get a result at once."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, Field, StrictStr

from worker.lab.sandbox.allocate import Pick, by_service
from worker.lab.sandbox.bodies import Body, parse
from worker.lab.sandbox.catalogue import OUTBOUND, Filters, selected
from worker.lab.sandbox.http_types import ApiError, Incoming

Flag = Annotated[bool | None, BeforeValidator(lambda stated: None if stated == "" else stated)]
"""JSON's own boolean, or XML's text; an empty element states nothing."""


class _Consignments(Body):
    references: Annotated[tuple[StrictStr, ...], Field(alias="ConsignmentReferences", min_length=1)]

    def pick(self) -> Pick:
        """The services that the default rules choose from."""
        return OUTBOUND


class _OfService(_Consignments):
    service: Annotated[StrictStr, Field(alias="MpdCarrierServiceReference")]

    def pick(self) -> Pick:
        """The named service."""
        return by_service(self.service)


class _FilterBody(Body):
    direction: Annotated[StrictStr, Field(alias="ServiceDirection")] = "Outbound"
    pickup: Annotated[Flag, Field(alias="IsPickup")] = None
    drop_off: Annotated[Flag, Field(alias="IsDropOff")] = None


class _Filtered(_Consignments):
    filters: Annotated[_FilterBody, Field(alias="Filters")]

    def pick(self) -> Pick:
        """The services that match the filters."""
        stated = self.filters
        return selected(Filters(direction=stated.direction, pickup=stated.pickup, drop_off=stated.drop_off))


STRATEGIES: dict[str, type[_Consignments]] = {
    "allocatewithcarrierservice": _OfService,
    "allocate": _Consignments,
    "allocateConsignmentsWithServiceFilters": _Filtered,
}
"""The body of a request, by the last segment of its path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Many:
    """A well-formed request for many consignments."""

    references: tuple[str, ...]
    pick: Pick


def read_many(strategy: str, request: Incoming) -> Many | ApiError:
    """The request in a body, or what is wrong with it."""
    wanted = parse(STRATEGIES[strategy], request.body, xml=request.xml_in)
    return wanted if isinstance(wanted, ApiError) else Many(references=wanted.references, pick=wanted.pick())
