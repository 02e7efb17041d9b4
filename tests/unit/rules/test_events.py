"""Published events: exactly the keys of the contract, and no invented values."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tasks.events.shipment_allocated import allocated_event
from tasks.events.shipment_allocation_failed import failed_event
from tasks.rules.outcome import Allocated, Carrier, Label, Price
from tasks.rules.shipment import Shipment
from tasks.rules.unreadable import UnreadableRecord, stand_in
from tests.factories.shipments import ALLOCATED, CARRIER, GROUP, NOW, VIRTUAL, open_call, shipment

ENVELOPE = {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"}
COMMON = {"merchant", "order", "shipment", "api", "merchant_file", "rule", "attempts", "order_event"}


def allocated(of: Shipment, what: Allocated = ALLOCATED, *, adopted: bool = False) -> dict[str, Any]:
    """The parsed event of an allocated shipment."""
    event: dict[str, Any] = json.loads(allocated_event(of, what, adopted=adopted, now=NOW))
    return event


def failed(of: Shipment, steps: list[dict[str, Any]], replay: int = 0) -> dict[str, Any]:
    """The parsed event of a failed shipment."""
    text = failed_event(of, "all_steps_refused", "no carrier accepts it", steps, replay=replay, now=NOW)
    event: dict[str, Any] = json.loads(text)
    return event


def test_allocated() -> None:
    """An allocated event has the contract's keys and all values from the API."""
    what = Allocated(
        carrier=CARRIER,
        price=Price(net="2.00", gross="2.40", currency="GBP"),
        tracking_references=("19297253", "2"),
        labels=(Label(href="https://api.test/labels/sp_1/pdf", format="pdf"), Label(href="https://api.test/l")),
        correlation_id="c-1",
    )
    event = allocated(shipment(VIRTUAL, GROUP, step=1, attempts=2, attempted=1), what)
    assert {name: value for name, value in event.items() if name not in ("source", "data")} == {
        "specversion": "1.0",
        "id": "acme/sp_1/allocated",
        "type": "shipment.allocated",
        "subject": "sp_1",
        "time": "2026-11-18T11:06:40.000Z",
        "datacontenttype": "application/json",
    }
    assert event["data"] == {
        "merchant": "acme",
        "order": "1001",
        "shipment": "sp_1",
        "api": "shipments-v2",
        "merchant_file": None,
        "rule": "default",
        "strategy": {"service_group": "G"},
        "fell_back": True,
        "carrier": {"reference": "FF", "name": "Fast Freight", "service_reference": "FF-1", "service_name": "Fast"},
        "price": {"net": "2.00", "gross": "2.40", "currency": "GBP"},
        "tracking_references": ["19297253", "2"],
        "labels": [
            {"href": "https://api.test/labels/sp_1/pdf", "format": "pdf"},
            {"href": "https://api.test/l", "format": None},
        ],
        "attempts": 2,
        "adopted": False,
        "correlation_id": "c-1",
        "order_event": "evt-1",
        "allocated_at": "2026-11-18T11:06:40.000Z",
    }


def test_missing_values() -> None:
    """Missing values are null or an empty list, and their keys are present."""
    data = allocated(shipment(attempts=1, attempted=0), Allocated())["data"]
    assert (data["carrier"], data["price"], data["correlation_id"]) == (None, None, None)
    assert (data["tracking_references"], data["labels"]) == ([], [])
    half = allocated(shipment(), Allocated(carrier=Carrier(name="Fast"), price=Price(net="1")))["data"]
    assert half["carrier"] == {"reference": None, "name": "Fast", "service_reference": None, "service_name": None}
    assert half["price"] == {"net": "1", "gross": None, "currency": None}


def test_the_allocating_step() -> None:
    """The strategy is the step that was allocated; `fell_back` is set for any step but the first."""
    first = allocated(shipment(VIRTUAL, GROUP, attempts=1, attempted=0))["data"]
    assert (first["strategy"], first["fell_back"]) == ({"virtual_service": "V"}, False)
    second = allocated(shipment(VIRTUAL, GROUP, step=1, attempts=2, attempted=1))["data"]
    assert (second["strategy"], second["fell_back"]) == ({"service_group": "G"}, True)


def test_adopted() -> None:
    """For an adopted shipment the strategy is the last attempted step, or null."""
    never = allocated(shipment(VIRTUAL, GROUP, unread=True), adopted=True)["data"]
    assert (never["adopted"], never["strategy"], never["fell_back"]) == (True, None, False)
    waiting = shipment(VIRTUAL, GROUP, step=1, **open_call())
    before = allocated(waiting, adopted=True)["data"]
    assert (before["strategy"], before["fell_back"]) == ({"virtual_service": "V"}, False)


def test_failed() -> None:
    """A failed event has the contract's keys, and each attempt with strategy, outcome, reason and correlation id."""
    step = {"strategy": {"virtual_service": "V"}, "outcome": "refused", "reason": "no", "correlation_id": None}
    event = failed(shipment(attempts=1), [step])
    assert event.keys() == ENVELOPE
    assert (event["type"], event["subject"]) == ("shipment.allocation_failed", "sp_1")
    assert event["data"].keys() == COMMON | {"reason", "message", "steps", "failed_at"}
    assert (event["data"]["reason"], event["data"]["message"]) == ("all_steps_refused", "no carrier accepts it")
    assert event["data"]["steps"] == [step]
    assert event["data"]["failed_at"] == event["time"]


def test_unreadable_records() -> None:
    """For a shipment with an unreadable record, unknown values are null in both events."""
    found = stand_in(UnreadableRecord(merchant="acme", reference="sp_1", received=NOW, error="ValueError: no"))
    for data in (failed(found, [])["data"], allocated(found, adopted=True)["data"]):
        assert (data["merchant"], data["shipment"]) == ("acme", "sp_1")
        assert [data[name] for name in ("order", "order_event", "api", "rule", "attempts")] == [None] * 5


@given(st.integers(0, 10), st.integers(0, 10))
def test_ids_derive_from_merchant_and_shipment(one: int, other: int) -> None:
    """The same shipment has the same id whenever it is written; each replay's failure has a different one."""
    assert failed(shipment(), [], one)["id"] == failed(shipment(age_s=60, attempts=3), [{}], one)["id"]
    assert (failed(shipment(), [], one)["id"] == failed(shipment(), [], other)["id"]) is (one == other)
    assert allocated(shipment())["id"] == allocated(shipment(attempts=5), adopted=True)["id"]


@given(st.text(), st.text())
def test_any_text_is_published(message: str, tracking: str) -> None:
    """Whatever text the API sent, the event is one line of JSON with the same content."""
    text = allocated_event(shipment(), Allocated(tracking_references=(tracking,)), adopted=False, now=NOW)
    assert json.loads(text.encode())["data"]["tracking_references"] == [tracking]
    text = failed_event(shipment(), "invalid_request", message, [], replay=0, now=NOW)
    assert json.loads(text.encode())["data"]["message"] == message
    assert "\n" not in text


@given(st.decimals(0, 10**6, allow_nan=False, allow_infinity=False, places=4).map(str))
def test_prices_stay_text(net: str) -> None:
    """A price is published with the digits that were received."""
    what = Allocated(price=Price(net=net, gross=net, currency="GBP"))
    assert allocated(shipment(), what)["data"]["price"] == {"net": net, "gross": net, "currency": "GBP"}
