"""Where the vendor's own documents disagree, every side of the disagreement is read."""

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
    error,
    response,
    v1,
    v2,
)
from worker.carrier_api.dialect import dialect_for, target
from worker.carrier_api.response import ApiResponse

RESULT = {"shipment_reference": REF, "state": "allocated", "correlation_id": "c"}
ALLOCATED = Allocated(correlation_id="c")


def test_virtual_service_may_answer_202() -> None:
    """The OpenAPI document has only 200 for a virtual service, an earlier page has 202 too."""
    assert v2(response(202, {**RESULT, "state": "allocating"}), VIRTUAL) == Queued(
        reason="allocating", correlation_id="c"
    )
    assert v2(response(202), VIRTUAL) == Queued(reason="queued")


def test_202_may_say_allocated() -> None:
    """202 means queued, and the document's own example of a 202 is allocated: the state decides."""
    assert v2(response(202, RESULT), SERVICE) == ALLOCATED


@pytest.mark.parametrize("status", [202, 207, 407])
def test_many_is_a_list_or_two_lists(status: int) -> None:
    """The OpenAPI document answers a "many" call with a list of results, the pages with `queued` and `rejected`."""
    results = [{**RESULT, "state": "allocating"}, {**RESULT, "shipment_reference": OTHER, "state": "allocation_failed"}]
    queues = {"queued": [REF], "rejected": [{"code": "allocation_failed", "references": [OTHER]}]}
    for body in (results, queues):
        outcomes = responses.V2.read(GROUP, [REF, OTHER], response(status, body), NOW)
        assert [type(outcome) for outcome in outcomes.values()] == [Queued, Refused]


def test_partly_done_is_207_or_407() -> None:
    """A carrier service says 207 for what default rules and groups call 407, which elsewhere is a proxy's word."""
    outcomes = [responses.V2.read(DEFAULT, [REF, OTHER], response(status, [RESULT]), NOW) for status in (207, 407)]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][REF] == ALLOCATED


def test_407_may_be_an_error() -> None:
    """Default rules document an error as the body of 407: some shipment was queued, nobody says which."""
    outcome = v2(error(407, "shipment_not_found"), DEFAULT)
    assert outcome.reason == "unreadable_response"


def test_default_rules_may_answer_for_one() -> None:
    """The page about default rules prints the single result of an endpoint that only an earlier document has."""
    assert v2(response(200, {**RESULT, "state": "Allocated"}), DEFAULT) == ALLOCATED


def test_state_in_any_case() -> None:
    """The enumeration is in lower case, an example says "Allocated"."""
    assert v2(response(200, {**RESULT, "state": "Allocated"})) == v2(response(200, RESULT))


@pytest.mark.parametrize(("rel", "kind"), [("label", "label"), ("PDF", "Label")])
def test_label_link_in_either_dress(rel: str, kind: str) -> None:
    """A label link has the relation "label" and the type "label", or the relation "PDF" and the type "Label"."""
    links = [{"href": "https://h/labels/x/pdf", "rel": rel, "type": kind}]
    outcome = v2(response(200, {**RESULT, "_links": links}))
    assert isinstance(outcome, Allocated)
    assert outcome.labels == (Label(href="https://h/labels/x/pdf", format="pdf"),)


@pytest.mark.parametrize("answer", [error(400, "virtual_service_not_found"), error(404), response(404)])
def test_unknown_virtual_service_is_400_or_404(answer: ApiResponse) -> None:
    """The page "Allocating with a Virtual Service" says 404, the table of error codes a child of 400."""
    outcome = v2(answer, VIRTUAL)
    assert isinstance(outcome, Refused)
    assert outcome.reason == "virtual_service_not_found"


def test_missing_shipment_is_404_or_521() -> None:
    """`shipment_not_found` is a child of 404 and of 521, and means the same."""
    assert v2(error(404, "shipment_not_found")) == v2(error(521, "shipment_not_found"))


def test_invalid_state_is_400_or_521() -> None:
    """The state gate answers with two codes and two statuses."""
    either = (error(400, "invalid_state_for_operation"), error(521, "shipment_invalid_state"))
    assert [v2(answer).reason for answer in either] == ["invalid_state"] * 2


def test_429_may_be_a_conflict() -> None:
    """To the rest of the world 429 is throttling, to the table of error codes it is `conflict`."""
    assert v2(error(429, "rule_conflict", parent="conflict")).reason == "conflict"
    assert v2(response(429)).reason == "throttled"


def test_bulk_path_is_the_reference_s() -> None:
    """One page writes `/shipments/allocation/…`, the API reference `/shipments/allocate/…`: the reference is right."""
    for strategy in (SERVICE, GROUP, DEFAULT, FILTERS):
        assert target(strategy.request(V2, [REF], bulk=True)).startswith("/shipments/allocate")


def test_group_key_has_no_blank() -> None:
    """An example of a request for a group has a blank at the end of a key, the OpenAPI document has none."""
    body = dialect_for(V2).encode(GROUP.request(V2, [REF], bulk=True)) or b""
    assert json.loads(body).keys() == {"shipments", "service_group"}


SUMMARIES = [
    {"IsSuccess": True, "Message": "m", "Data": EC, "ApiLinks": []},
    {"StatusCode": 200, "Description": "d", "ApiLinks": [{"Rel": "detail", "Href": f"https://h/consignments/{EC}"}]},
]


@pytest.mark.parametrize("summary", SUMMARIES)
def test_summary_has_two_forms(summary: dict[str, object]) -> None:
    """One page prints `IsSuccess` and `Data`, another `StatusCode` and `Description`."""
    assert v1(response(200, [summary])) == Allocated()


def test_summary_is_alone_or_in_a_list() -> None:
    """Endpoints for one consignment answer with a summary in one example and with a list of one in another."""
    assert v1(response(200, SUMMARIES[0])) == v1(response(200, [SUMMARIES[0]]))


@pytest.mark.parametrize(("link", "label"), [("detail", "label"), ("Link", "Label")])
def test_links_of_v1_in_either_dress(link: str, label: str) -> None:
    """JSON calls the links "detail" and "label", XML "Link" and "Label"."""
    links = [
        {"Rel": label, "Href": f"https://h/labels/{EC}"},
        {"Rel": link, "Href": f"https://h/consignments/{EC}"},
    ]
    outcomes = responses.V1.read(DEFAULT, ["EC-1", EC], response(200, [{"StatusCode": 200, "ApiLinks": links}]), NOW)
    assert outcomes[EC] == Allocated(labels=(Label(href=f"https://h/labels/{EC}"),))


def test_legs_from_zero_or_one() -> None:
    """The XML example numbers its leg 0, the JSON example 1."""
    outcomes: list[Outcome] = []
    for first in (0, 1):
        legs = [{"Leg": first + 1, "TrackingReferences": ["B"]}, {"Leg": first, "TrackingReferences": ["A"]}]
        outcomes.append(v1(response(200, {"StatusCode": 200, "ConsignmentLegs": legs})))
    assert outcomes == [Allocated(tracking_references=("A", "B"))] * 2


def test_failed_state_with_and_without_blank() -> None:
    """The page "Consignment States" writes "Allocation Failed", a name in an enumeration can have no blank."""
    expected = Unallocated(reason="allocation_failed", state="allocation_failed")
    for state in ("Allocation Failed", "AllocationFailed"):
        assert responses.V1.find(EC, response(200, {"ConsignmentState": state}), NOW) == expected


def test_v1_state_has_two_names() -> None:
    """The consignment calls it `ConsignmentState`, its short form `Status`."""
    for key in ("ConsignmentState", "Status"):
        assert responses.V1.find(EC, response(200, {key: "Allocated"}), NOW) == Allocated()


def test_flag_of_filters_is_pickup() -> None:
    """v1's filter is `IsPickup`, although a quote's own field is `IsPickUp`."""
    body = json.loads(dialect_for(V1).encode(FILTERS.request(V1, [EC])) or b"")
    assert body["Filters"] == {"ServiceDirection": "Outbound", "IsPickup": False, "IsDropOff": True}
