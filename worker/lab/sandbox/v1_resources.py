"""The readable resources of v1: a consignment, its status, quotes and label. Trees that become JSON or XML."""

from decimal import Decimal

from worker.lab.sandbox.catalogue import Service
from worker.lab.sandbox.http_types import Tree, timestamp
from worker.lab.sandbox.labels import CONTENT_TYPES, label
from worker.lab.sandbox.state import SimulatedShipment, State
from worker.lab.sandbox.v1_bodies import Style, consignment_link, leg

_DAY_S = 86_400.0
_POUND: Tree = {"Name": "Pound Sterling", "IsoCode": "GBP"}


def state_word(state: State) -> str:
    """The v1 word for a state: `allocation_failed` is "Allocation Failed"."""
    return state.replace("_", " ").title()


def consignment(shipment: SimulatedShipment, style: Style) -> Tree:
    """The consignment, with its allocation and leg once it has them."""
    return {
        "ConsignmentLegs": [leg(shipment.allocation, style)] if shipment.allocation else [],
        "Allocation": _allocation(shipment),
        "Source": "Api",
        "LabelCount": shipment.labels_read,
        "LabelsPrinted": shipment.labels_read > 0,
        "Weight": {"Value": shipment.facts.weight_kg, "Unit": "Kg"},
        "Direction": "Outbound",
        "Tags": sorted(shipment.facts.tags),
        "Reference": shipment.reference,
        "ConsignmentState": state_word(shipment.state),
        "DateCreated": timestamp(shipment.created),
    }


def _allocation(shipment: SimulatedShipment) -> Tree:
    if shipment.allocation is None:
        return None
    service = shipment.allocation.service
    return {
        "MpdCarrierReference": service.carrier,
        "MpdCarrierServiceReference": service.reference,
        "MpdCarrierServiceName": service.name,
        "AllocationDate": timestamp(shipment.allocation.at),
    }


def consignment_status(shipment: SimulatedShipment, base: str) -> Tree:
    """The short form: the state and a link."""
    return {
        "ConsignmentReferenceForAllLegsAssignedByMpd": shipment.reference,
        "Status": state_word(shipment.state),
        "ApiLink": consignment_link(shipment.reference, base, "Link"),
    }


def quotes(shipment: SimulatedShipment, serial: int, now: float) -> Tree:
    """The consignment's present quotes; without any the list is empty and the message explains it."""
    found = [
        _quote(shipment.reference, quote, service, now, expires)
        for quote, (service, expires) in shipment.quotes.items()
    ]
    return {
        "QuoteRequestReference": f"qr_{serial:032d}",
        "Quotes": found,
        "Message": f"{len(found)} quotes for consignment {shipment.reference}",
    }


def _quote(shipment: str, quote: str, service: Service, now: float, expires: float) -> Tree:
    return {
        "MpdCarrierService": service.name,
        "CollectionDate": timestamp(now + _DAY_S),
        "EarliestDeliveryDate": timestamp(now + service.delivery_days * _DAY_S),
        "LatestDeliveryDate": timestamp(now + (service.delivery_days + 1) * _DAY_S),
        "Price": _price(service),
        "QuoteReference": quote,
        "CreationDate": timestamp(now),
        "ExpiryDate": timestamp(expires),
        "ConsignmentReference": shipment,
        "MpdCarrierServiceReference": service.reference,
    }


def _price(service: Service) -> Tree:
    tax = service.gross - service.net
    kind, rate = ("Standard", Decimal("0.2000")) if tax else ("Zero", Decimal("0.0000"))
    return {
        "Net": service.net,
        "Gross": service.gross,
        "VatRate": {"Reference": f"GB-{rate}", "CountryIsoCode": "GB", "Type": kind, "Rate": rate},
        "VatAmount": tax,
        "Currency": _POUND,
    }


def labels(reference: str, kind: str) -> Tree:
    """The consignment's label."""
    return {"File": label(reference, kind), "ContentType": CONTENT_TYPES[kind]}
