"""The response bodies of the stub: rendered once, then filled with a reference."""

import json
from typing import Any

_HOLE = "~reference~"
_BASE = "https://api.example.com"


class Form:
    """A JSON document with a reference in several places."""

    def __init__(self, tree: dict[str, Any]) -> None:
        """`tree` has `_HOLE` in place of the reference."""
        self._parts = json.dumps(tree, separators=(",", ":")).encode().split(_HOLE.encode())

    def fill(self, reference: bytes) -> bytes:
        """The document with this reference."""
        return reference.join(self._parts)


def _link(kind: str, path: str) -> dict[str, str]:
    return {"href": f"{_BASE}/{path}", "rel": kind, "reference": _HOLE, "type": kind}


_LINKS = [
    _link("shipment", f"pro/shipments/{_HOLE}"),
    _link("label", f"pro/labels/{_HOLE}/pdf"),
    _link("label", f"pro/labels/{_HOLE}/zpl"),
]
_ALLOCATION = {
    "carrier": {
        "reference": "FF_LINET",
        "name": "Lineten",
        "service_reference": "FF_LINET-00001",
        "service_name": "Lineten - Standard On Demand",
    },
    "price": {
        "net": 2.00,
        "gross": 2.40,
        "taxes": [{"rate": {"reference": "gb_standard", "country_iso_code": "GB", "value": 0.2}, "amount": 0.40}],
        "currency": "GBP",
    },
    "tracking_details": {"shipment": {"reference": _HOLE, "tracking_references": [f"TRK-{_HOLE}"]}, "contents": []},
}

RESULT_V2 = Form(
    {
        "shipment_reference": _HOLE,
        "state": "allocated",
        "message": f"Shipment {_HOLE} has been allocated successfully",
        **_ALLOCATION,
        "_links": _LINKS,
        "correlation_id": f"co-{_HOLE}",
        "details": [],
        "excluded_services": [],
    }
)
"""v2's AllocateResult."""

REFUSED_V2 = Form(
    {
        "correlation_id": f"co-{_HOLE}",
        "code": "allocation_failed",
        "message": "The shipment could not be allocated.",
        "details": [
            {"code": "carrier_service_shipment_mismatch", "message": "Too heavy.", "important": "FF_LINET-00001"}
        ],
    }
)
"""v2's error for a shipment that no carrier service takes."""

SHIPMENT_V2 = Form({"reference": _HOLE, "state": "allocated", "allocation": _ALLOCATION, "_links": _LINKS})
"""v2's shipment, as a read-back returns it."""

_LEG = {
    "Leg": 1,
    "TrackingReferences": [f"TRK-{_HOLE}"],
    "CarrierReference": "FF_LINET",
    "CarrierServiceReference": "FF_LINET-00001",
    "CarrierName": "Lineten",
}

SUMMARY_V1 = Form(
    {
        "StatusCode": 200,
        "ApiLinks": [
            {"Rel": "detail", "Href": f"{_BASE}/consignments/{_HOLE}"},
            {"Rel": "label", "Href": f"{_BASE}/labels/{_HOLE}"},
        ],
        "Description": f"Consignment {_HOLE} has been successfully allocated with Lineten",
        "ConsignmentLegs": [_LEG],
        "CarrierReference": "FF_LINET",
        "CarrierName": "Lineten",
        "CarrierServiceReference": "FF_LINET-00001",
        "CarrierServiceName": "Lineten - Standard On Demand",
    }
)
"""v1's Allocation Summary; the response to a bulk call is a list of them."""

CONSIGNMENT_V1 = Form({"Reference": _HOLE, "ConsignmentState": "Allocated", "ConsignmentLegs": [_LEG]})
"""v1's consignment, as a read-back returns it."""
