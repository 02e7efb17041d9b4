"""Findings of a v2 read-back."""

from typing import Any

import pytest

from tasks.rules.outcome import Allocated, Carrier, Finding, Label, Price, Queued, Unallocated, Unknown
from tests.unit.carrier_api.responses import NOW, OTHER, REF, V2, api_response
from tests.unit.carrier_api.test_results_v2 import LABEL


def find(**shipment: Any) -> Finding:
    """The finding of a read-back with this shipment."""
    return V2.find(REF, api_response(200, {"reference": REF, **shipment}), NOW)


@pytest.mark.parametrize("state", ["allocated", "manifesting", "booking_failed", "Dispatched", "lost", "delivered"])
def test_later_states_are_adopted(state: str) -> None:
    """Allocated and every later state is an allocation."""
    assert find(state=state) == Allocated()


def test_read_back_states() -> None:
    """Other states mean waiting, a new call or the end; an unknown state is unknown."""
    assert find(state="allocating") == Queued(reason="allocating")
    assert find(state="Unallocated") == Unallocated(state="unallocated")
    assert find(state="allocation_failed") == Unallocated(reason="allocation_failed", state="allocation_failed")
    assert [find(state=state).reason for state in ("cancelling", "cancelled", "destroyed")] == ["wrong_state"] * 3
    assert find(state="teleported") == Unknown(reason="unknown_state", message="state teleported")
    assert find().reason == find(state=None).reason == "unreadable_response"
    assert V2.find(REF, api_response(200, b"<html>"), NOW).reason == "unreadable_response"
    assert V2.find(REF, api_response(200, {"reference": OTHER, "state": "allocated"}), NOW).reason == "other_shipment"


def test_read_back_collects_the_allocation() -> None:
    """Carrier, price and tracking come from `allocation`; label links from three places, each used once."""
    zpl = {**LABEL, "href": "https://h/zpl", "rel": "ZPL"}
    finding = find(
        state="delivered",
        allocation={
            "carrier": {"reference": "FF", "name": "Fast"},
            "price": {"net": 2, "gross": 2.4, "currency": "GBP"},
            "tracking_details": {"shipment": {"tracking_references": ["T1"]}},
            "_links": [LABEL],
        },
        label_details={"retrieval_count": 0, "_links": [zpl, LABEL]},
        _links=[{"href": "https://h/s", "rel": "shipment", "type": "shipment"}, LABEL],
    )
    assert finding == Allocated(
        carrier=Carrier(reference="FF", name="Fast"),
        price=Price(net="2", gross="2.4", currency="GBP"),
        tracking_references=("T1",),
        labels=(Label(href="https://h/zpl", format="zpl"), Label(href=LABEL["href"], format="pdf")),
    )
