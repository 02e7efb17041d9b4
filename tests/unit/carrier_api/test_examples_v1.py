"""Every v1 response that the vendor prints is parsed into the right outcome, field by field."""

from datetime import UTC, datetime

import pytest

from tasks.rules.outcome import Allocated, Carrier, Label, Unallocated
from tests.factories.vendor_documents import example, needs_vendor, seed
from tests.unit.carrier_api.responses import DEFAULT, NOW, V1, api_response
from worker.carrier_api.quotes import Offer, choose

pytestmark = needs_vendor

CARRIER_X = Carrier(reference="CARRIER_X", name="Carrier X", service_reference="CX_NDS", service_name="Next Day Super")


def _v1_label(reference: str) -> tuple[Label, ...]:
    return (Label(href=f"https://api.electioapp.com/labels/{reference}"),)


@pytest.mark.parametrize(
    ("name", "reference", "expected"),
    [
        ("v1-summary-seed.json", "EC-000-05A-Z6S", Allocated(labels=_v1_label("EC-000-05A-Z6S"))),
        *(
            (
                name,
                reference,
                Allocated(carrier=CARRIER_X, tracking_references=("TRK00009823",), labels=_v1_label(reference)),
            )
            for name, reference in (
                ("v1-summary-1.json", "EC-000-05B-MMA"),
                ("v1-summary-seed.xml", "EC-000-05A-Z6S"),
            )
        ),
    ],
)
def test_v1_summary(name: str, reference: str, expected: Allocated) -> None:
    """A summary in each of its three forms, requested alone or with another."""
    response = api_response(200, example(name))
    assert V1.read(DEFAULT, [reference], response, NOW) == {reference: expected}
    assert V1.read(DEFAULT, ["EC-1", reference], response, NOW)[reference] == expected


@pytest.mark.parametrize(("begin", "end"), [("[\n    {\n", "```"), ("<?xml", "```")])
def test_v1_page(begin: str, end: str) -> None:
    """The page about allocation prints both forms of a summary of the same consignment."""
    response = api_response(200, seed("The Allocation Summary Response", begin, end))
    outcome = V1.read(DEFAULT, ["EC-000-05A-Z6S"], response, NOW)["EC-000-05A-Z6S"]
    assert isinstance(outcome, Allocated)
    assert outcome.labels == _v1_label("EC-000-05A-Z6S")


def test_v1_consignment() -> None:
    """A consignment that may be allocated, and the short form of an allocated one."""
    whole, short = (
        api_response(200, example("v1-get-consignment-1.json")),
        api_response(200, example("v1-get-consignment-2.json")),
    )
    assert V1.find("EC-000-05C-ZB4", whole, NOW) == Unallocated(state="unallocated")
    assert V1.find("EC-000-087-01A", short, NOW) == Allocated()


@pytest.mark.parametrize(
    "name", ["v1-get-consignment-3.json", "v1-get-consignment-4.json", "v1-labels-1.json", "v1-labels-2.xml"]
)
def test_v1_responses_of_other_endpoints(name: str) -> None:
    """A list of references, a search result or a label is no response to an allocation or a read-back."""
    response = api_response(200, example(name))
    assert not isinstance(V1.find("EC-000-05C-VQ4", response, NOW), Allocated | Unallocated)
    outcomes = V1.read(DEFAULT, ["EC-000-05C-VQ4"], response, NOW)
    assert not isinstance(outcomes["EC-000-05C-VQ4"], Allocated)


def test_v1_quotes() -> None:
    """Two quotes with the same price: the earlier is also the choice for the cheapest."""
    offers = V1.parse_quotes("EC-000-05B-1CM", api_response(200, example("v1-quotes-1.json")), NOW)
    assert isinstance(offers, tuple)
    assert offers[0] == Offer(
        reference="f6374a18-a6b5-48c1-841c-aa3f00e9951a",
        gross="33.23",
        currency="GBP",
        delivery_end=datetime(2019, 5, 2, 23, 59, tzinfo=UTC),
        expires=datetime(2019, 4, 30, 23, tzinfo=UTC),
    )
    assert [offer.reference[:8] for offer in offers] == ["f6374a18", "f63bd4ab"]
    at_the_time = datetime(2019, 4, 30, tzinfo=UTC)
    assert choose(offers, "cheapest", at_the_time) == choose(offers, "earliest", at_the_time) == offers[0]
    assert choose(offers, "cheapest", NOW) is None
