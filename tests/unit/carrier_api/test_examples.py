"""Every v2 response that the vendor prints is parsed into the right outcome, field by field."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tasks.rules.outcome import Allocated, Carrier, Label, Price, Queued, Stopped, Unallocated
from tests.factories.vendor_documents import example, needs_vendor, seed
from tests.unit.carrier_api.responses import DEFAULT, NOW, SERVICE, V2, VIRTUAL, api_response
from worker.carrier_api.quotes import Offer, choose

pytestmark = needs_vendor

LINETEN = Carrier(
    reference="FF_LINET",
    name="Lineten",
    service_reference="FF_LINET-00001",
    service_name="Lineten - Standard On Demand",
)
TWO_POUNDS = Price(net="2.0", gross="2.0", currency="GBP")


def _labels(base: str, reference: str) -> tuple[Label, ...]:
    return tuple(Label(href=f"{base}/labels/{reference}/{word}", format=word) for word in ("pdf", "zpl"))


def _lineten(reference: str, tracking: str, correlation_id: str) -> Allocated:
    return Allocated(
        carrier=LINETEN,
        price=TWO_POUNDS,
        tracking_references=(tracking,),
        labels=_labels("https://api-int.sorted.com/pro", reference),
        correlation_id=correlation_id,
    )


V2_ALLOCATED = {
    "v2-carrier-service-1.json": (
        "sp_00794355402411366010308868571136",
        _lineten(
            "sp_00794355402411366010308868571136",
            "8376568",
            "e35a94cd-f3e5-401a-85b8-dcda0aa2d553.SAPI_496bfd60-08b5-4cd3-86a7-502601288357",
        ),
    ),
    "v2-virtual-service-1.json": (
        "sp_00802615769404976542730318118912",
        _lineten(
            "sp_00802615769404976542730318118912",
            "19297253",
            "c0d007b2-ff54-4e6d-b770-2298bb15e667.SAPI_c895965a-b123-4b6e-88c3-b5fe71304303",
        ),
    ),
    "v2-service-group-1.json": (
        "sp_00794403010635468411384028069888",
        _lineten(
            "sp_00794403010635468411384028069888",
            "43765709",
            "7a53f7c4-836f-4a46-9d67-be1cadaaf7c2.SAPI_51eda51d-3efc-4afa-a8b4-47fc826420cf",
        ),
    ),
    "v2-default-rules-1.json": (
        "sp_9233500258180005889777767900009",
        Allocated(
            carrier=Carrier(
                reference="DNQ",
                name="DNQ Worldwide",
                service_reference="DNQWW72",
                service_name="DNQ Worldwide 72-Hour Express",
            ),
            price=Price(net="10.0", gross="12.0", currency="GBP"),
            tracking_references=("DNK23098098",),
            labels=_labels("https://api.sorted.com/pro", "sp_9233500258180005889777767900009"),
        ),
    ),
    "v2-quote-1.json": (
        "sp_10014418868640612447876776802355",
        Allocated(
            carrier=Carrier(
                reference="DNQ", name="DNQ Worldwide", service_reference="DNQ72", service_name="DNQ 72-Hour Express"
            ),
            price=Price(net="10.0", gross="12.0", currency="GBP"),
            tracking_references=("tr_00658933450928453677570964848640",),
            labels=_labels("https://beta.sorted.com/pro", "sp_10014418868640612447876776802355"),
        ),
    ),
}


@pytest.mark.parametrize("name", V2_ALLOCATED)
def test_v2_allocated(name: str) -> None:
    """An allocated shipment, with every field of the response."""
    reference, expected = V2_ALLOCATED[name]
    for status in (200, 202):
        assert V2.read(VIRTUAL, [reference], api_response(status, example(name)), NOW) == {reference: expected}


def test_v2_page() -> None:
    """The page "Allocating with a Virtual Service" prints two decimals, and both are kept."""
    reference, expected = V2_ALLOCATED["v2-virtual-service-1.json"]
    body = seed("uid: pro-api-help-shipments-allocating-with-a-virtual-service", '{\n    "shipment_reference"', "```")
    price = Price(net="2.00", gross="2.00", currency="GBP")
    assert V2.read(VIRTUAL, [reference], api_response(200, body), NOW) == {reference: replace(expected, price=price)}


V2_QUEUED = {
    "v2-carrier-service-3.json": (
        "sp_00794372987452683804666199932928",
        "sp_00794373204515521320006493798400",
        "sp_00794373381493583963175932002304",
        "sp_10014418709726822400876827879904",
    ),
    "v2-service-group-3.json": (
        "sp_00794407328944469090495223169024",
        "sp_00794407551522883083874672967680",
        "sp_00794407763918694348566450274304",
        "sp_00794407763918694348566459974304",
    ),
    "v2-default-rules-2.json": (
        "sp_10014418679662051328667654221112",
        "sp_10014418692546953216098308745978",
        "sp_10014418709726822400232323009988",
    ),
}


@pytest.mark.parametrize("status", [202, 207, 407])
@pytest.mark.parametrize("name", V2_QUEUED)
def test_v2_queued(name: str, status: int) -> None:
    """All shipments but the last are queued; the last one does not exist."""
    *queued, rejected = references = V2_QUEUED[name]
    outcomes = V2.read(SERVICE, references, api_response(status, example(name)), NOW)
    assert [outcomes[reference] for reference in queued] == [Queued(reason="queued")] * len(queued)
    last = outcomes[rejected]
    assert isinstance(last, Stopped)
    assert (last.reason, last.message.rstrip(".")) == ("shipment_not_found", "The shipment cannot be found")


def test_v2_error() -> None:
    """A validation error stops the shipment with its details."""
    assert V2.read(DEFAULT, ["x"], api_response(400, example("v2-error-1.json")), NOW) == {
        "x": Stopped(
            reason="invalid_request",
            message="A provided property has an invalid format; "
            "addresses[0].contact.contact_details.email: 'test@something' is not a valid email address",
            correlation_id="6c4e6a77-feab-42ab-9d7b-f559dc1b90ca",
        )
    }


def test_v2_shipment() -> None:
    """A shipment that may be allocated."""
    reference = "sp_00792693789526132644358207963136"
    finding = V2.find(reference, api_response(200, example("v2-get-shipment-1.json")), NOW)
    assert finding == Unallocated(state="unallocated")


def _v2_offer(prefix: str, digit: int, gross: str, end: str, expires: str) -> Offer:
    return Offer(
        reference=f"{prefix}{digit}",
        gross=gross,
        currency="EUR",
        delivery_end=datetime.fromisoformat(end),
        expires=datetime.fromisoformat(expires),
    )


@pytest.mark.parametrize(
    ("name", "prefix", "first", "day"),
    [
        ("v2-quotes-1.json", "qu_0066208990114304292617569199718", 4, 18),
        ("v2-create-quote-2.json", "qu_0066074019562027561706898037145", 6, 17),
    ],
)
def test_v2_quotes(name: str, prefix: str, first: int, day: int) -> None:
    """Two quotes: one is cheaper, the other earlier."""
    expires = f"2020-07-{day - 2}T23:59:00+00:00"
    early = _v2_offer(prefix, first, "20.0", f"2020-07-{day}T12:00:00+00:00", expires)
    cheap = _v2_offer(prefix, first + 1, "12.0", f"2020-07-{day}T15:45:00+00:00", expires)
    offers = V2.parse_quotes("sp_00662089297971405204020773257216", api_response(201, example(name)), NOW)
    assert offers == (early, cheap)
    at_the_time = datetime(2020, 7, 1, tzinfo=UTC)
    assert choose((early, cheap), "cheapest", at_the_time) == cheap
    assert choose((early, cheap), "earliest", at_the_time) == early
    assert choose((early, cheap), "cheapest", NOW) is None
