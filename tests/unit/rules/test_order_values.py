"""Values of an order-created event: type, bounds, and absence."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.rules.order import Rejection
from tests.factories.order_events import event, order, read, reason, shipment

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"


@given(st.text(LETTERS, min_size=1, max_size=64).filter(lambda text: text not in (".", "..")))
def test_reference(reference: str) -> None:
    """A reference has 1 to 64 of the characters in the contract."""
    assert order(shipment(reference=reference)).data.shipments[0].reference == reference


@pytest.mark.parametrize(
    "reference", ["", "a" * 65, "a b", "a/b", "a:b", "é", "a\n", "%41", "\u0661", ".", "..", 5, None, ["a"]]
)
def test_invalid_reference(reference: Any) -> None:
    """Anything else, and the two names that are path segments, is a bad order."""
    assert reason(event(shipment(reference=reference))) == "bad_order"


@pytest.mark.parametrize("weight", [0, 0.0, 1, 1.2, 1e-9, 30_000])
def test_weight(weight: float) -> None:
    """A weight is any finite number from 0 on."""
    assert order(shipment(weight_kg=weight)).data.shipments[0].weight_kg == weight


@pytest.mark.parametrize(
    "weight", [-0.001, -1, float("nan"), float("inf"), float("-inf"), 10**400, "1.2", "", True, [], {}]
)
def test_invalid_weight(weight: Any) -> None:
    """A weight that is negative, infinite, or of another type is a bad order."""
    assert reason(event(shipment(weight_kg=weight))) == "bad_order"


@pytest.mark.parametrize("amount", ["0", "59.98", "2.00", 5, 5.25, "1E+3"])
def test_amount(amount: Any) -> None:
    """An amount is a decimal number, as text or number, and keeps its digits."""
    value = order(shipment(value={"amount": amount})).data.shipments[0].value
    assert value is not None
    assert str(value.amount) == str(amount)


@pytest.mark.parametrize("amount", ["-0.01", -1, "", "ten", "NaN", "Infinity", "-Infinity", float("nan"), True, [], {}])
def test_invalid_amount(amount: Any) -> None:
    """An amount that is negative, infinite, or no number is a bad order."""
    assert reason(event(shipment(value={"amount": amount}))) == "bad_order"


def test_a_value_may_be_partial() -> None:
    """Neither the amount nor the currency is required."""
    for part in ({"currency": "GBP"}, {"amount": "1"}, {}):
        assert reason(event(shipment(value=part))) is None


@pytest.mark.parametrize(
    "table",
    [
        event(shipping_method=""),
        event(shipping_method=5),
        event(shipment(value={"amount": "1", "currency": ""})),
        event(shipment(value="59.98")),
        event(shipment(destination={"country": ""})),
        event(shipment(destination={"postcode": 1})),
        event(shipment(destination="GB")),
        event(shipment(tags="fragile")),
        event(shipment(tags=[""])),
        event(shipment(tags=[None])),
        event(shipment(tags={"fragile": True})),
        event("sp_1"),  # type: ignore[arg-type]
    ],
)
def test_present_values_have_their_type(table: Any) -> None:
    """An optional text that is empty or no text, a list or table of another type: a bad order."""
    assert reason(table) == "bad_order"


def test_a_text_may_have_one_character() -> None:
    """Texts must not be empty; one character is enough."""
    short = shipment(reference="r", value={"currency": "x"}, destination={"country": "x", "postcode": "x"}, tags=["x"])
    table = event(short, merchant="m", order="o", shipping_method="s") | {"id": "i", "source": "s", "subject": "s"}
    assert reason(table) is None


LONG = "x" * 256


@pytest.mark.parametrize("key", ["id", "source", "subject", "datacontenttype"])
def test_envelope_texts_are_bounded(key: str) -> None:
    """256 characters are accepted, one more is not."""
    assert reason(event() | {key: LONG}) is None
    assert reason(event() | {key: LONG + "x"}) == "bad_envelope"


@pytest.mark.parametrize(
    "wrong",
    [
        event(merchant=LONG + "x"),
        event(order=LONG + "x"),
        event(shipping_method=LONG + "x"),
        event(shipment(tags=[LONG + "x"])),
        event(shipment(destination={"country": LONG + "x"})),
        event(shipment(destination={"postcode": LONG + "x"})),
        event(shipment(value={"currency": LONG + "x"})),
        event(shipment(value={"amount": "1" * 65})),
        event(shipment(value={"amount": "1e65"})),
        event(shipment(value={"amount": "1e-65"})),
        event(shipment(tags=["x"] * 33)),
        event(*[shipment()] * 1001),
    ],
)
def test_an_order_is_bounded(wrong: dict[str, Any]) -> None:
    """Texts have 256 characters, amounts 64 digits, shipments 32 tags, and events 1,000 shipments at most."""
    assert reason(wrong) == "bad_order"


def test_the_largest_order_is_read() -> None:
    """All bounds at once."""
    most = shipment(tags=[LONG] * 32, value={"amount": "1" * 64, "currency": LONG}, destination={"country": LONG})
    assert reason(event(most, merchant=LONG, order=LONG, shipping_method=LONG)) is None
    assert reason(event(*[shipment()] * 1000)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        event(*[shipment(reference=5, weight_kg="x")] * 20_000),
        event(shipment(tags=[5] * 200_000)),
        event() | {"data": {str(n): n for n in range(50_000)}},
        event() | {"data_base64": "x" * 1_000_000},
        event() | {"source": [[]] * 200_000},
    ],
)
def test_the_error_is_short(wrong: dict[str, Any]) -> None:
    """However many fields are wrong, the error names the first."""
    found = read(wrong)
    assert isinstance(found, Rejection)
    assert len(found.error) < 500


def test_null_is_absent() -> None:
    """Null for an optional key equals its absence, at every depth."""
    nothing = dict.fromkeys(("weight_kg", "value", "destination", "tags"))
    deep = {"value": {"amount": None, "currency": None}, "destination": {"country": None, "postcode": None}}
    bare = order()
    assert order(shipment(**nothing), shipping_method=None, deliver_by=None).data == bare.data
    assert reason(event(shipment(**deep)) | {"time": None, "subject": None}) is None


@pytest.mark.parametrize("moment", ["2026-11-21T10:00:00Z", "2026-11-21T11:00:00.000+01:00", "2026-11-21t10:00:00z"])
def test_timestamp(moment: str) -> None:
    """A timestamp is RFC 3339 with an offset, and is parsed into a datetime."""
    assert order(deliver_by=moment).data.deliver_by == datetime(2026, 11, 21, 10, tzinfo=UTC)


@pytest.mark.parametrize("moment", ["2016-12-31T23:59:60Z", "2017-01-01T00:59:60.9+01:00"])
def test_a_leap_second_is_valid(moment: str) -> None:
    """It is parsed as the second before."""
    found = order(deliver_by=moment).data.deliver_by
    assert found is not None
    assert found.replace(microsecond=0) == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    "moment",
    [
        *("2016-12-31T23:58:60Z", "2016-12-31T23:59:61Z"),
        *("", "soon", "2026-11-21", "2026-11-21T10:00:00", "2026-13-21T10:00:00Z", " 2026-11-21T10:00:00Z"),
        *("1763719200", "1763719200.5", "+5", "-5", 1763719200, 1763719200.5, True, {}),
    ],
)
def test_invalid_timestamp(moment: Any) -> None:
    """A date, a time without an offset, and numbers in any form are no timestamps."""
    assert reason(event(deliver_by=moment)) == "bad_order"
    assert reason(event() | {"time": moment}) == "bad_envelope"
