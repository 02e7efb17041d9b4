"""Parses v2's requests for many shipments. Every such call queues its shipments."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from worker.lab.sandbox.allocate import Pick, by_group
from worker.lab.sandbox.catalogue import OUTBOUND, SERVICES, Filters, selected
from worker.lab.sandbox.http_types import ApiError, caused

Strategy = Literal["default", "service", "service_group", "filters"]

PARTLY: dict[Strategy, int] = {"default": 407, "service": 207, "service_group": 407, "filters": 202}
"""The status when some shipments were rejected; it is 202 when none was."""

_MOST = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Many:
    """A well-formed request for many shipments."""

    strategy: Strategy
    references: tuple[str, ...]
    pick: Pick


def read_many(strategy: Strategy, body: bytes) -> Many | ApiError:
    """The request in a body, or what is wrong with it."""
    try:
        content = json.loads(body)
    except ValueError:
        return _invalid("invalid_format", "The body is not JSON.")
    if not isinstance(content, dict):
        return _invalid("invalid_format", "The body is not an object.")
    references = _references(content.get("shipments"))
    if isinstance(references, ApiError):
        return references
    return Many(strategy=strategy, references=references, pick=_pick(strategy, content))


def _references(stated: object) -> tuple[str, ...] | ApiError:
    if not isinstance(stated, list) or not all(isinstance(each, str) for each in stated):
        return _invalid("invalid_format", "shipments is not a list of references.")
    if not 1 <= len(stated) <= _MOST:
        return _invalid("invalid_length", f"shipments has {len(stated)} references; 1 to {_MOST} are allowed.")
    if len(set(stated)) < len(stated):
        return _invalid("duplicate_reference", "A shipment is named twice.")
    return tuple(stated)


def _pick(strategy: Strategy, content: Mapping[str, Any]) -> Pick:
    match strategy:
        case "default":
            return OUTBOUND
        case "service":
            return _service(str(content.get("carrier_service_reference")))
        case "service_group":
            return by_group(str(content.get("service_group")))
        case "filters":
            return _filtered(content.get("filters"))


def _service(reference: str) -> Pick:
    if reference in SERVICES:
        return (SERVICES[reference],)
    return caused(404, "not_found", "carrier_service_not_found", f"There is no carrier service {reference}.")


def _filtered(stated: object) -> Pick:
    if not isinstance(stated, dict) or not isinstance(stated.get("direction"), str):
        return _invalid("required", "filters has no direction.")
    tags = frozenset(map(str, stated.get("tags") or ()))
    pickup, drop_off = stated.get("pickup"), stated.get("drop_off")
    return selected(Filters(direction=stated["direction"], pickup=pickup, drop_off=drop_off, tags=tags))


def _invalid(cause: str, message: str) -> ApiError:
    return caused(400, "validation_error", cause, message)
