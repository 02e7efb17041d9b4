"""Parsing order-created events: accepted fields, and the reasons for rejection."""

import json
from base64 import b64encode
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.rules.order import IgnoredEvent, Order, Rejection, parse_order
from tests.factories.order_events import event, order, read, reason, shipment, without


def test_every_optional_field_is_read() -> None:
    """Each optional key of the contract is parsed into its type."""
    stated = shipment(
        weight_kg=1.2,
        value={"amount": "59.98", "currency": "GBP"},
        destination={"country": "GB", "postcode": "M1 1AE"},
        tags=["fragile"],
    )
    found = read(
        event(stated, shipping_method="next-day", deliver_by="2026-11-23T17:00:00Z")
        | {"time": "2026-11-21T10:00:00Z", "datacontenttype": "application/json", "subject": "1001"}
    )
    assert found.event_id == "evt-1"
    assert found.published == datetime(2026, 11, 21, 10, tzinfo=UTC)
    assert found.data.deliver_by == datetime(2026, 11, 23, 17, tzinfo=UTC)
    (first,) = found.data.shipments
    assert (first.weight_kg, first.value.amount, first.tags) == (1.2, Decimal("59.98"), ("fragile",))
    assert (first.destination.country, first.destination.postcode) == ("GB", "M1 1AE")


def test_required_fields_are_enough() -> None:
    """The four envelope attributes, merchant, order and one reference are enough."""
    found = order()
    assert found.published is None
    assert [s.reference for s in found.data.shipments] == ["sp_1"]


@pytest.mark.parametrize("key", ["specversion", "id", "source", "type"])
def test_envelope_attributes_are_required(key: str) -> None:
    """A missing, null or empty attribute makes the envelope invalid."""
    for table in (without(event(), key), event() | {key: None}, event() | {key: ""}, event() | {key: 7}):
        assert reason(table) == "bad_envelope"


@pytest.mark.parametrize("key", ["merchant", "order", "shipments"])
def test_merchant_order_and_shipments_are_required(key: str) -> None:
    """A missing, null or empty one makes the order invalid."""
    data: dict[str, Any] = event()["data"]
    for wrong in (without(data, key), data | {key: None}, data | {key: ""}, data | {key: []}):
        assert reason(event() | {"data": wrong}) == "bad_order"


@pytest.mark.parametrize("data", [None, [], "x", {}, 5])
def test_data_is_required(data: Any) -> None:
    """An order event without data, or whose data is not an object, is a bad order."""
    assert reason(event() | {"data": data}) == "bad_order"
    assert reason(without(event(), "data")) == "bad_order"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b"\xff{}",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"[" * 100_000,
        b'"\\ud800"',
        json.dumps(event()).encode()[:-1],
    ],
)
def test_invalid_json(text: bytes) -> None:
    """Text that cannot be parsed, also for its depth or encoding, is bad JSON."""
    found = parse_order(text)
    assert isinstance(found, Rejection)
    assert found.reason == "bad_json"


@pytest.mark.parametrize("table", [None, [], [event()], "event", 5, True])
def test_json_without_an_object(table: Any) -> None:
    """JSON that is not an object is a bad envelope."""
    assert reason(table) == "bad_envelope"


@pytest.mark.parametrize("version", ["1", "1.0.0", "0.3", "1.1", 1.0, 1, [], " 1.0"])
def test_specversion_is_1_0(version: Any) -> None:
    """Only the text 1.0 is a supported version."""
    assert reason(event() | {"specversion": version}) == "bad_envelope"


@pytest.mark.parametrize("table", [event() | {"time": "today"}, event() | {"subject": 5}, event() | {"subject": ""}])
def test_optional_attributes_have_a_type(table: Any) -> None:
    """Other envelope attributes must be of their type."""
    assert reason(table) == "bad_envelope"


def in_base64(data: Any) -> dict[str, Any]:
    """An event with its data encoded by a CloudEvents library as bytes."""
    return without(event(), "data") | {"data_base64": b64encode(json.dumps(data).encode()).decode()}


def test_data_may_be_base64() -> None:
    """`data_base64` replaces `data`."""
    table = event(shipment(tags=["fragile"]), order="Ä")
    assert read(in_base64(table["data"])) == read(table)


NOTHING_IN_BASE64 = in_base64({})
NO_BASE64: tuple[Any, ...] = ("", "%", "e30", "bm8=", "/w==", 5, None, [], "é")


@pytest.mark.parametrize(
    "wrong",
    [
        in_base64(event()["data"]) | {"data": event()["data"]},
        in_base64(event()["data"]) | {"data": None},
        event() | {"data_base64": None},
        in_base64(5),
        in_base64({}),
        *(NOTHING_IN_BASE64 | {"data_base64": said} for said in NO_BASE64),
    ],
)
def test_invalid_base64(wrong: dict[str, Any]) -> None:
    """Both keys, invalid base64, JSON or order are a bad order; an event of another type is ignored."""
    assert reason(wrong) == "bad_order"
    assert isinstance(read(wrong | {"type": "order.cancelled"}), IgnoredEvent)


def test_size_is_checked_first() -> None:
    """An event of exactly 1 MiB is parsed; one byte more, and not even the JSON is parsed."""
    text, most = json.dumps(event()).encode(), 1024 * 1024
    assert isinstance(parse_order(text + b" " * (most - len(text))), Order)
    for too_large in (text + b" " * (most + 1 - len(text)), b"{" * (most + 1)):
        found = parse_order(too_large)
        assert isinstance(found, Rejection)
        assert found.reason == "event_too_large"


@pytest.mark.parametrize("data", [None, 5, {}, {"merchant": ""}])
def test_other_types_are_ignored(data: Any) -> None:
    """An event of another type is neither accepted nor rejected, whatever its data is."""
    assert read(event() | {"type": "order.cancelled", "data": data}) == IgnoredEvent(type="order.cancelled")


def test_extra_keys_are_ignored() -> None:
    """Unknown keys have no effect, at any depth."""
    more = {"colour": {"deep": [1, None]}}
    known = shipment(destination={"country": "GB"}, value={"amount": "1"})
    extra = shipment(destination={"country": "GB"} | more, value={"amount": "1"} | more) | more
    assert read(event(extra, **more) | more) == read(event(known))


def test_an_event_is_accepted_as_a_whole() -> None:
    """One invalid shipment among valid ones rejects all of them."""
    assert reason(event(shipment(), shipment(reference="sp 2"), shipment(reference="sp_3"))) == "bad_order"


def test_a_reference_may_be_repeated() -> None:
    """A shipment that an event contains twice is parsed twice: the ledger detects duplicates."""
    assert len(order(shipment(), shipment()).data.shipments) == 2


def test_a_rejection_names_keys_without_values() -> None:
    """The error names each wrong key, but not its value, as that may be personal."""
    wrong = shipment(reference="", weight_kg="x", tags=5, destination={"country": 5, "postcode": 5}, value=5)
    found = read(event(shipment(), *[wrong] * 5000))
    assert len(found.error) < 1000
    assert found.error.startswith("data.shipments.1.reference: ")
    assert found.error.endswith("; and 1 more")
    assert "more" not in read(event(*[shipment(reference="")] * 900)).error


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=100))
def test_parsing_bytes_never_raises(text: bytes) -> None:
    """Any bytes are parsed or rejected."""
    assert isinstance(parse_order(text), Rejection)


@given(st.sampled_from(["id", "type", "time", "data", "merchant", "shipments", "reference", "value", "tags"]), JSON)
def test_parsing_json_never_raises(key: str, rubbish: Any) -> None:
    """Any JSON at any position is parsed or rejected."""
    for table in (event() | {key: rubbish}, event(**{key: rubbish}), event(shipment(**{key: rubbish}))):
        assert isinstance(read(table), Order | Rejection | IgnoredEvent)
