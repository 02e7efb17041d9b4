"""The bodies of v2, as trees that are valid by the vendor's OpenAPI schemas."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import lru_cache

from worker.lab.sandbox.allocate import WasAllocated
from worker.lab.sandbox.catalogue import Exclusion, Service
from worker.lab.sandbox.http_types import ApiError, Detail, Tree, json_text

_HOLE = {"reference": "~reference~", "tracking": "~tracking~", "correlation": "~correlation~"}
"""The placeholder in a response that is rendered once; no reference can contain a tilde."""


def link(href: str, kind: str, reference: str) -> Tree:
    """A link as every v2 body has it."""
    return {"href": href, "rel": kind, "reference": reference, "type": kind}


def shipment_link(reference: str, base: str) -> Tree:
    """The link to a shipment."""
    return link(f"{base}/shipments/{reference}", "shipment", reference)


def label_links(reference: str, base: str) -> list[Tree]:
    """The links to a shipment's labels, one per format."""
    return [link(f"{base}/labels/{reference}/{form}", "label", reference) for form in ("pdf", "zpl")]


def carrier(service: Service) -> Tree:
    """The `carrier_details` of a service."""
    return {
        "reference": service.carrier,
        "name": service.carrier_name,
        "service_reference": service.reference,
        "service_name": service.name,
    }


def price(service: Service) -> Tree:
    """The `price` of a service, with its one tax."""
    tax = service.gross - service.net
    kind, rate = ("standard", Decimal("0.2000")) if tax else ("zero", Decimal("0.0000"))
    return {
        "net": service.net,
        "gross": service.gross,
        "taxes": [
            {
                "rate": {"reference": f"gb_{kind}", "country_iso_code": "GB", "type": kind, "value": rate},
                "amount": tax,
            }
        ],
        "currency": "GBP",
    }


def tracking_details(reference: str, tracking: str) -> Tree:
    """The `tracking_details` of an allocated shipment."""
    return {"shipment": {"reference": reference, "tracking_references": [tracking]}, "contents": []}


def excluded_services(exclusions: Iterable[Exclusion]) -> list[Tree]:
    """The services that do not take the shipment, each with the reason."""
    return [
        {"carrier": carrier(each.service), "exclusion": {"reason": each.reason, "code": each.code}}
        for each in exclusions
    ]


def allocated(taken: WasAllocated, base: str, correlation: str) -> bytes:
    """The AllocateResult of an allocated shipment: the most frequent response, so it is rendered only once."""
    text = _allocated_form(taken.allocation.service, base)
    text = text.replace(_HOLE["reference"], taken.shipment.reference)
    text = text.replace(_HOLE["tracking"], taken.allocation.tracking).replace(_HOLE["correlation"], correlation)
    exclusions = json_text(excluded_services(taken.exclusions)) if taken.exclusions else "[]"
    return f'{text[:-1]},"excluded_services":{exclusions}}}'.encode()


@lru_cache(maxsize=256)
def _allocated_form(service: Service, base: str) -> str:
    reference = _HOLE["reference"]
    return json_text(
        {
            "shipment_reference": reference,
            "state": "allocated",
            "price": price(service),
            "message": f"Shipment {reference} has been allocated successfully",
            "carrier": carrier(service),
            "tracking_details": tracking_details(reference, _HOLE["tracking"]),
            "_links": [shipment_link(reference, base), *label_links(reference, base)],
            "correlation_id": _HOLE["correlation"],
            "details": [],
        }
    )


def queued(reference: str, base: str, correlation: str) -> Tree:
    """The AllocateResult of a queued shipment."""
    return {
        "shipment_reference": reference,
        "state": "allocating",
        "message": f"Shipment {reference} has been queued for allocation",
        "_links": [shipment_link(reference, base)],
        "correlation_id": correlation,
        "details": [],
        "excluded_services": [],
    }


def many(accepted: list[str], rejected: Mapping[ApiError, list[str]], base: str) -> Tree:
    """The response to a bulk call, in the form of the help pages."""
    lost = [reference for references in rejected.values() for reference in references]
    return {
        "message": f"{len(accepted)} shipment(s) queued for allocation successfully."
        + (f" {len(lost)} shipment(s) rejected for allocation." if lost else ""),
        "queued": accepted,
        "rejected": [
            {"code": error.cause, "message": error.message, "references": references}
            for error, references in rejected.items()
        ],
        "_links": [link(f"{base}/shipments/{each}", "rejected", each) for each in lost],
    }


def filtered(accepted: list[str], serial: int, base: str) -> Tree:
    """The AllocateWithFiltersResult."""
    return {
        "reference": f"af_{serial:032d}",
        "message": f"{len(accepted)} shipment(s) queued for allocation successfully.",
        "shipments": [shipment_link(reference, base) for reference in accepted],
    }


def error_body(error: ApiError, serial: int, correlation: str) -> Tree:
    """The ApiError."""
    return {
        "reference": f"er_{serial:032d}",
        "correlation_id": correlation,
        "code": error.code,
        "message": error.message,
        "details": [_detail(each) for each in error.details],
        "_links": [],
    }


def _detail(detail: Detail) -> Tree:
    concerns = {"property": detail.concerns} if detail.concerns else {}
    return {**concerns, "code": detail.code, "message": detail.message}
