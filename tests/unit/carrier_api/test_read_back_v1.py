"""Findings of a v1 read-back."""

from typing import Any

import pytest

from tasks.rules.outcome import Allocated, Carrier, Finding, Price, Queued, Stopped, Throttled, Unallocated, Unknown
from tests.unit.carrier_api.responses import EC, NOW, V1, api_response
from tests.unit.carrier_api.test_v1 import LEG, OTHER


def find(**consignment: Any) -> Finding:
    """The finding of a read-back with this consignment."""
    return V1.find(EC, api_response(200, {"Reference": EC, **consignment}), NOW)


@pytest.mark.parametrize("key", ["ConsignmentState", "Status"])
def test_read_back_states(key: str) -> None:
    """The state of the full or the short form, in every spelling of the vendor."""
    later = ("Allocated", "ManifestFailed", "In Transit - Waiting", "Dispatched", "Collected", "Return to Sender ")
    assert [find(**{key: state}) for state in later] == [Allocated()] * len(later)
    failed = Unallocated(reason="allocation_failed", state="allocation_failed")
    assert find(**{key: "Allocation Failed"}) == find(**{key: "AllocationFailed"}) == failed
    assert find(**{key: "Unallocated"}) == Unallocated(state="unallocated")
    assert find(**{key: "Allocating"}) == Queued(reason="allocating")
    assert find(**{key: "Cancelled"}).reason == find(**{key: "Cancelling"}).reason == "wrong_state"
    assert find(**{key: "Teleported"}).reason == "unknown_state"


def test_read_back_without_a_state() -> None:
    """No state, no known form, or another consignment: unknown."""
    assert find().reason == "unreadable_response"
    assert V1.find(EC, api_response(200, b"<html>"), NOW).reason == "unreadable_response"
    assert find(Reference=OTHER, ConsignmentState="Allocated").reason == "other_shipment"
    short = {"ConsignmentReferenceForAllLegsAssignedByMpd": OTHER, "Status": "Allocated"}
    assert V1.find(EC, api_response(200, short), NOW).reason == "other_shipment"


CONSIGNMENT: dict[str, Any] = {
    "ConsignmentState": "Allocated",
    "ConsignmentLegs": [LEG],
    "Allocation": {
        "MpdCarrierServiceReference": "CX_NDS",
        "MpdCarrierServiceName": "Next Day Super",
        "Price": {"Net": 27.69, "Gross": 33.230, "Currency": {"IsoCode": "GBP"}},
    },
}
ADOPTED = Allocated(
    carrier=Carrier(reference="CX", name="Carrier X", service_reference="CX_NDS", service_name="Next Day Super"),
    price=Price(net="27.69", gross="33.23", currency="GBP"),
    tracking_references=("T1",),
)


def test_read_back_collects_the_allocation() -> None:
    """Carrier and tracking come from the legs, service and price from `Allocation`; there are no labels."""
    assert find(**CONSIGNMENT) == ADOPTED
    single = {key: value for key, value in LEG.items() if key != "TrackingReferences"}
    assert find(**{**CONSIGNMENT, "ConsignmentLegs": [{**single, "TrackingReference": "T1"}]}) == ADOPTED


def test_tracking_of_packages_is_used() -> None:
    """If the consignment has no tracking of its own, that of its packages is used."""
    packages = [{"ConsignmentLegs": [LEG]}, {}, {"ConsignmentLegs": [{**LEG, "TrackingReferences": ["T2"]}]}]
    finding = find(**{**CONSIGNMENT, "ConsignmentLegs": [], "Packages": packages})
    assert isinstance(finding, Allocated)
    assert finding.tracking_references == ("T1", "T2")


def test_read_back_as_xml() -> None:
    """The same consignment in XML has the same finding."""
    body = f"""<?xml version="1.0" encoding="utf-8"?>
        <Consignment xmlns:i="http://www.w3.org/2001/XMLSchema-instance" xmlns="urn:any"><Reference>{EC}</Reference>
        <ConsignmentState>Allocated</ConsignmentState><DateShipped i:nil="true"/><Allocation>
        <MpdCarrierServiceReference>CX_NDS</MpdCarrierServiceReference>
        <MpdCarrierServiceName>Next Day Super</MpdCarrierServiceName>
        <Price><Net>27.69</Net><Gross>33.23</Gross><Currency><IsoCode>GBP</IsoCode></Currency></Price></Allocation>
        <ConsignmentLegs><ConsignmentLeg><Leg>0</Leg><TrackingReferences><string>T1</string></TrackingReferences>
        <CarrierReference>CX</CarrierReference><CarrierName>Carrier X</CarrierName></ConsignmentLeg></ConsignmentLegs>
        <Packages><Package><ConsignmentLegs/></Package></Packages></Consignment>"""
    assert V1.find(EC, api_response(200, body.encode(), content_type="application/xml"), NOW) == ADOPTED


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (400, Stopped, "invalid_request"),
        (401, Stopped, "unauthorised"),
        (404, Stopped, "shipment_not_found"),
        (429, Throttled, "throttled"),
        (202, Unknown, "unexpected_status"),
        (500, Unknown, "server_error"),
    ],
)
def test_read_back_is_never_refused(status: int, kind: type[Finding], reason: str) -> None:
    """An error on a read-back is about the consignment or the key."""
    finding = V1.find(EC, api_response(status, {"Message": "no"}), NOW)
    assert (type(finding), finding.reason) == (kind, reason)
