"""Parses v1's requests for many consignments, as JSON or XML. They get a result at once."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from worker.lab.sandbox.allocate import Pick, by_service
from worker.lab.sandbox.catalogue import OUTBOUND, Filters, selected
from worker.lab.sandbox.http_types import ApiError, Incoming, caused
from worker.lab.sandbox.xml import read_xml


@dataclass(frozen=True, kw_only=True, slots=True)
class Many:
    """A well-formed request for many consignments."""

    references: tuple[str, ...]
    pick: Pick


def _by_carrier_service(content: Mapping[str, Any]) -> Pick:
    return by_service(str(content.get("MpdCarrierServiceReference")))


def _by_default_rules(_content: Mapping[str, Any]) -> Pick:
    return OUTBOUND


def _by_filters(content: Mapping[str, Any]) -> Pick:
    stated = content.get("Filters")
    if not isinstance(stated, Mapping):
        return _invalid("Filters is missing.")
    direction = str(stated.get("ServiceDirection", "Outbound"))
    pickup, drop_off = _flag(stated.get("IsPickup")), _flag(stated.get("IsDropOff"))
    return selected(Filters(direction=direction, pickup=pickup, drop_off=drop_off))


def _flag(stated: object) -> bool | None:
    """JSON's own boolean, or XML's text."""
    return None if stated is None else str(stated).lower() == "true"


STRATEGIES: dict[str, Callable[[Mapping[str, Any]], Pick]] = {
    "allocatewithcarrierservice": _by_carrier_service,
    "allocate": _by_default_rules,
    "allocateConsignmentsWithServiceFilters": _by_filters,
}
"""How a request selects services, by the last segment of its path."""


def read_many(strategy: str, request: Incoming) -> Many | ApiError:
    """The request in a body, or what is wrong with it."""
    body: Any
    try:
        body = read_xml(request.body) if request.xml_in else json.loads(request.body)
    except ValueError as error:
        return _invalid(f"The body cannot be read: {error}")
    references = body.get("ConsignmentReferences") if isinstance(body, Mapping) else None
    if not isinstance(references, list) or not references or not all(isinstance(each, str) for each in references):
        return _invalid("ConsignmentReferences is not a list of references.")
    return Many(references=tuple(references), pick=STRATEGIES[strategy](body))


def _invalid(message: str) -> ApiError:
    return caused(400, "validation_error", "invalid_format", message)
