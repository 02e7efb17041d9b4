"""Where the vendor's documents contradict each other, all variants are parsed."""

import json

import pytest

from config.strategies.strategy import V1, V2
from tasks.rules.outcome import Allocated, Label, Outcome, Queued, Refused, Unallocated
from tests.unit.carrier_api import responses
from tests.unit.carrier_api.responses import (
    DEFAULT,
    EC,
    FILTERS,
    GROUP,
    NOW,
    OTHER,
    REF,
    SERVICE,
    VIRTUAL,
    api_error,
    api_response,
    v1,
    v2,
)
from worker.carrier_api.dialect import dialect_for, target
from worker.carrier_api.response import ApiResponse

RESULT = {"shipment_reference": REF, "state": "allocated", "correlation_id": "c"}
ALLOCATED = Allocated(correlation_id="c")


def test_virtual_service_may_respond_202() -> None:
    """The OpenAPI document has only 200 for a virtual service; an earlier page also has 202."""
    assert v2(api_response(202, {**RESULT, "state": "allocating"}), VIRTUAL) == Queued(
        reason="allocating", correlation_id="c"
    )
    assert v2(api_response(202), VIRTUAL) == Queued(reason="queued")


def test_202_may_contain_allocated() -> None:
    """202 means queued, but the document's own example of a 202 is allocated: the state decides."""
    assert v2(api_response(202, RESULT), SERVICE) == ALLOCATED


@pytest.mark.parametrize("status", [202, 207, 407])
def test_many_is_a_list_or_two_lists(status: int) -> None:
    """The OpenAPI document has a list of results for a "many" call; the pages have `queued` and `rejected`."""
    results = [{**RESULT, "state": "allocating"}, {**RESULT, "shipment_reference": OTHER, "state": "allocation_failed"}]
    queues = {"queued": [REF], "rejected": [{"code": "allocation_failed", "references": [OTHER]}]}
    for body in (results, queues):
        outcomes = responses.V2.read(GROUP, [REF, OTHER], api_response(status, body), NOW)
        assert [type(outcome) for outcome in outcomes.values()] == [Queued, Refused]


def test_partial_success_is_207_or_407() -> None:
    """A carrier service uses 207 where default rules and groups use 407, which otherwise comes from a proxy."""
    outcomes = [responses.V2.read(DEFAULT, [REF, OTHER], api_response(status, [RESULT]), NOW) for status in (207, 407)]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][REF] == ALLOCATED


def test_407_may_be_an_error() -> None:
    """Default rules document an error as the body of 407: some shipment was queued, but not which."""
    outcome = v2(api_error(407, "shipment_not_found"), DEFAULT)
    assert outcome.reason == "unreadable_response"


def test_default_rules_may_return_one_result() -> None:
    """The page about default rules prints the single result of an endpoint that only an earlier document has."""
    assert v2(api_response(200, {**RESULT, "state": "Allocated"}), DEFAULT) == ALLOCATED


def test_state_in_any_case() -> None:
    """The enumeration is in lower case; an example has "Allocated"."""
    assert v2(api_response(200, {**RESULT, "state": "Allocated"})) == v2(api_response(200, RESULT))


@pytest.mark.parametrize(("rel", "kind"), [("label", "label"), ("PDF", "Label")])
def test_label_link_in_both_forms(rel: str, kind: str) -> None:
    """A label link has the relation "label" and the type "label", or the relation "PDF" and the type "Label"."""
    links = [{"href": "https://h/labels/x/pdf", "rel": rel, "type": kind}]
    outcome = v2(api_response(200, {**RESULT, "_links": links}))
    assert isinstance(outcome, Allocated)
    assert outcome.labels == (Label(href="https://h/labels/x/pdf", format="pdf"),)


@pytest.mark.parametrize("response", [api_error(400, "virtual_service_not_found"), api_error(404), api_response(404)])
def test_unknown_virtual_service_is_400_or_404(response: ApiResponse) -> None:
    """The page "Allocating with a Virtual Service" has 404, the table of error codes a child of 400."""
    outcome = v2(response, VIRTUAL)
    assert isinstance(outcome, Refused)
    assert outcome.reason == "virtual_service_not_found"


def test_missing_shipment_is_404_or_521() -> None:
    """`shipment_not_found` is a child of 404 and of 521, with the same meaning."""
    assert v2(api_error(404, "shipment_not_found")) == v2(api_error(521, "shipment_not_found"))


def test_invalid_state_is_400_or_521() -> None:
    """An invalid state has two codes and two statuses."""
    either = (api_error(400, "invalid_state_for_operation"), api_error(521, "shipment_invalid_state"))
    assert [v2(response).reason for response in either] == ["invalid_state"] * 2


def test_429_may_be_a_conflict() -> None:
    """429 usually means throttling; in the table of error codes it is `conflict`."""
    assert v2(api_error(429, "rule_conflict", parent="conflict")).reason == "conflict"
    assert v2(api_response(429)).reason == "throttled"


def test_bulk_path_of_the_reference() -> None:
    """One page has `/shipments/allocation/…`, the API reference `/shipments/allocate/…`: the reference is right."""
    for strategy in (SERVICE, GROUP, DEFAULT, FILTERS):
        assert target(strategy.request(V2, [REF], bulk=True)).startswith("/shipments/allocate")


def test_group_key_has_no_space() -> None:
    """An example request for a group has a space at the end of a key; the OpenAPI document has none."""
    body = dialect_for(V2).encode(GROUP.request(V2, [REF], bulk=True)) or b""
    assert json.loads(body).keys() == {"shipments", "service_group"}


SUMMARIES = [
    {"IsSuccess": True, "Message": "m", "Data": EC, "ApiLinks": []},
    {"StatusCode": 200, "Description": "d", "ApiLinks": [{"Rel": "detail", "Href": f"https://h/consignments/{EC}"}]},
]


@pytest.mark.parametrize("summary", SUMMARIES)
def test_summary_has_two_forms(summary: dict[str, object]) -> None:
    """One page prints `IsSuccess` and `Data`, another `StatusCode` and `Description`."""
    assert v1(api_response(200, [summary])) == Allocated()


def test_summary_is_single_or_in_a_list() -> None:
    """Endpoints for one consignment return a summary in one example and a list of one in another."""
    assert v1(api_response(200, SUMMARIES[0])) == v1(api_response(200, [SUMMARIES[0]]))


@pytest.mark.parametrize(("link", "label"), [("detail", "label"), ("Link", "Label")])
def test_links_of_v1_in_both_forms(link: str, label: str) -> None:
    """JSON has the links "detail" and "label", XML "Link" and "Label"."""
    links = [
        {"Rel": label, "Href": f"https://h/labels/{EC}"},
        {"Rel": link, "Href": f"https://h/consignments/{EC}"},
    ]
    outcomes = responses.V1.read(
        DEFAULT, ["EC-1", EC], api_response(200, [{"StatusCode": 200, "ApiLinks": links}]), NOW
    )
    assert outcomes[EC] == Allocated(labels=(Label(href=f"https://h/labels/{EC}"),))


def test_legs_from_zero_or_one() -> None:
    """The XML example numbers its leg 0, the JSON example 1."""
    outcomes: list[Outcome] = []
    for first in (0, 1):
        legs = [{"Leg": first + 1, "TrackingReferences": ["B"]}, {"Leg": first, "TrackingReferences": ["A"]}]
        outcomes.append(v1(api_response(200, {"StatusCode": 200, "ConsignmentLegs": legs})))
    assert outcomes == [Allocated(tracking_references=("A", "B"))] * 2


def test_failed_state_with_and_without_space() -> None:
    """The page "Consignment States" has "Allocation Failed"; the name in an enumeration cannot contain a space."""
    expected = Unallocated(reason="allocation_failed", state="allocation_failed")
    for state in ("Allocation Failed", "AllocationFailed"):
        assert responses.V1.find(EC, api_response(200, {"ConsignmentState": state}), NOW) == expected


def test_v1_state_has_two_names() -> None:
    """The consignment has `ConsignmentState`, its short form `Status`."""
    for key in ("ConsignmentState", "Status"):
        assert responses.V1.find(EC, api_response(200, {key: "Allocated"}), NOW) == Allocated()


def test_filter_flag_is_pickup() -> None:
    """v1's filter is `IsPickup`, although a quote has `IsPickUp`."""
    body = json.loads(dialect_for(V1).encode(FILTERS.request(V1, [EC])) or b"")
    assert body["Filters"] == {"ServiceDirection": "Outbound", "IsPickup": False, "IsDropOff": True}
