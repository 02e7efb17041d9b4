"""The Allocation Summaries of v1, as trees that become JSON or XML."""

from dataclasses import dataclass

from worker.lab.sandbox.allocate import Result, Waiting, WasAllocated
from worker.lab.sandbox.http_types import ApiError, Tree
from worker.lab.sandbox.state import Allocation

_TOLD = frozenset({404, 429})


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """The differences between JSON and XML besides syntax: names of links, number of the first leg."""

    detail: str
    label: str
    first_leg: int


JSON_STYLE = Style(detail="detail", label="label", first_leg=1)
XML_STYLE = Style(detail="Link", label="Label", first_leg=0)


def consignment_link(reference: str, base: str, rel: str) -> Tree:
    """The link to a consignment."""
    return {"Rel": rel, "Href": f"{base}/consignments/{reference}"}


def _links(reference: str, result: Result, base: str, style: Style) -> list[Tree]:
    links = [consignment_link(reference, base, style.detail)]
    if isinstance(result, WasAllocated):
        links.append({"Rel": style.label, "Href": f"{base}/labels/{reference}"})
    return links


def status_of(result: Result) -> int:
    """The HTTP status of a result; v1 distinguishes only some errors, all others are 400."""
    match result:
        case WasAllocated():
            return 200
        case Waiting():
            return 202
        case ApiError():
            return result.status if result.status in _TOLD else 400


def describe(reference: str, result: Result) -> str:
    """The result as a message."""
    match result:
        case WasAllocated():
            service = result.allocation.service
            return f"Consignment {reference} has been successfully allocated with {service.carrier_name} {service.name}"
        case Waiting():
            return f"Consignment {reference} has been queued for allocation"
        case ApiError():
            return f"Consignment {reference} could not be allocated: {result.message}"


def outcome_summary(reference: str, result: Result, base: str, style: Style) -> Tree:
    """The Allocation Summary with `IsSuccess`; a queued consignment is not a success yet."""
    return {
        "IsSuccess": isinstance(result, WasAllocated),
        "Message": describe(reference, result),
        "Data": reference,
        "ApiLinks": _links(reference, result, base, style),
    }


def summary(reference: str, result: Result, base: str, style: Style) -> Tree:
    """The Allocation Summary with `StatusCode` and legs."""
    taken = _was_allocated(result, style) if isinstance(result, WasAllocated) else {"ConsignmentLegs": []}
    return {
        "StatusCode": status_of(result),
        "ApiLinks": _links(reference, result, base, style),
        "Description": describe(reference, result),
        **taken,
    }


def _was_allocated(taken: WasAllocated, style: Style) -> dict[str, Tree]:
    service = taken.allocation.service
    return {
        "ConsignmentLegs": [leg(taken.allocation, style)],
        "CarrierReference": service.carrier,
        "CarrierName": service.carrier_name,
        "CarrierServiceReference": service.reference,
        "CarrierServiceName": service.name,
    }


def leg(allocation: Allocation, style: Style) -> Tree:
    """The one leg of an allocated consignment."""
    return {
        "Leg": style.first_leg,
        "TrackingReferences": [allocation.tracking],
        "CarrierReference": allocation.service.carrier,
        "CarrierServiceReference": None,
        "CarrierName": allocation.service.carrier_name,
    }
