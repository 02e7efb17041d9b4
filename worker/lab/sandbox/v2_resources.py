"""The readable resources of v2: a shipment, its quotes, its labels. Valid by the vendor's OpenAPI schemas."""

from collections.abc import Iterable

from worker.lab.sandbox.catalogue import Exclusion, Service
from worker.lab.sandbox.http_types import Tree, timestamp
from worker.lab.sandbox.labels import CONTENT_TYPES, label
from worker.lab.sandbox.state import Allocation, SimulatedShipment
from worker.lab.sandbox.v2_bodies import (
    carrier,
    excluded_services,
    label_links,
    price,
    shipment_link,
    tracking_details,
)

_DAY_S = 86_400.0
_NO_DATES: Tree = {"has_value": False}


def shipment_resource(shipment: SimulatedShipment, base: str) -> Tree:
    """The Shipment, with its allocation and labels once it has them."""
    links = [shipment_link(shipment.reference, base)]
    allocated: dict[str, Tree] = {}
    if shipment.allocation is not None:
        links += label_links(shipment.reference, base)
        allocated = _allocated(shipment, shipment.allocation, base)
    return {
        "reference": shipment.reference,
        "state": shipment.state,
        "created": timestamp(shipment.created),
        "shipping_date": _NO_DATES,
        "expected_delivery_date": _NO_DATES,
        **allocated,
        "tags": sorted(shipment.facts.tags),
        "direction": "outbound",
        "shipment_type": "on_demand",
        "contents": [_goods(shipment)],
        "addresses": _addresses(shipment),
        "source": "Sandbox",
        "_links": links,
    }


def _goods(shipment: SimulatedShipment) -> Tree:
    return {
        "weight": {"value": shipment.facts.weight_kg, "unit": "Kg"},
        "value": {"amount": shipment.facts.value, "currency": shipment.facts.currency},
        "description": "Goods",
        "quantity": 1,
    }


def _allocated(shipment: SimulatedShipment, allocation: Allocation, base: str) -> dict[str, Tree]:
    read_at = shipment.label_read_at
    return {
        "allocation": {
            "carrier": carrier(allocation.service),
            "allocation_date": timestamp(allocation.at),
            "price": price(allocation.service),
            "tracking_details": tracking_details(shipment.reference, allocation.tracking),
            "_links": label_links(shipment.reference, base),
        },
        "label_details": {
            "date_first_retrieved": None if read_at is None else timestamp(read_at),
            "retrieval_count": shipment.labels_read,
            "_links": label_links(shipment.reference, base),
        },
    }


def _addresses(shipment: SimulatedShipment) -> list[Tree]:
    facts = shipment.facts
    return [
        {"address_type": "origin", "address_line1": "1 Warehouse Way", "country_iso_code": "GB"},
        {
            "address_type": "destination",
            "address_line1": "1 High Street",
            "postal_code": facts.postcode,
            "country_iso_code": facts.country,
        },
    ]


def quote_result(
    shipment: SimulatedShipment, exclusions: Iterable[Exclusion], serial: int, base: str, now: float
) -> Tree:
    """The QuoteResult with the shipment's present quotes."""
    quotes = [
        _quote(shipment.reference, quote, service, now, expires)
        for quote, (service, expires) in shipment.quotes.items()
    ]
    return {
        "reference": f"qc_{serial:032d}",
        "message": f"{len(quotes)} quotes retrieved successfully for shipment {shipment.reference}",
        "shipment": {
            "reference": shipment.reference,
            "addresses": _addresses(shipment),
            "_links": [shipment_link(shipment.reference, base)],
        },
        "quotes": quotes,
        "excluded_services": excluded_services(exclusions),
    }


def _quote(shipment: str, quote: str, service: Service, now: float, expires: float) -> Tree:
    return {
        "reference": quote,
        "shipment_reference": shipment,
        "carrier": carrier(service),
        "collection_date": _dates(now, now + _DAY_S),
        "delivery_date": _dates(now + service.delivery_days * _DAY_S, now + (service.delivery_days + 1) * _DAY_S),
        "price": price(service),
        "created": timestamp(now),
        "expires": timestamp(expires),
        "_links": [],
    }


def _dates(start: float, end: float) -> Tree:
    return {"start": timestamp(start), "end": timestamp(end), "has_value": True}


def document(reference: str, kind: str, dpi: int) -> Tree:
    """The Document that holds a label."""
    return {
        "file": label(reference, kind),
        "content_type": CONTENT_TYPES[kind],
        "document_type": "label",
        "dpi": dpi,
    }
