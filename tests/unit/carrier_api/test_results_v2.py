"""v2 responses with results, for one shipment and for many."""

from typing import Any

import pytest

from tasks.rules.outcome import (
    Allocated,
    Carrier,
    NotYet,
    Outcome,
    Price,
    Queued,
    Refused,
    Stopped,
    Unknown,
)
from tests.unit.carrier_api.responses import DEFAULT, FILTERS, NOW, OTHER, REF, SERVICE, V2, api_response, v2

LABEL = {"href": f"https://api.sorted.com/pro/labels/{REF}/pdf", "rel": "label", "type": "label"}


def result(reference: str = REF, state: str | None = "allocated", **more: Any) -> dict[str, Any]:
    """An AllocateResult."""
    return {"shipment_reference": reference, "state": state, "correlation_id": "c-1", **more}


def many(body: Any, status: int = 202) -> list[tuple[type[Outcome], str | None]]:
    """The outcomes of a response for two shipments."""
    outcomes = V2.read(DEFAULT, [REF, OTHER], api_response(status, body), NOW)
    assert list(outcomes) == [REF, OTHER]
    return [(type(outcome), outcome.reason) for outcome in outcomes.values()]


MISSING = (Unknown, "missing_in_response")
QUEUED = (Queued, "queued")
ALLOCATED = (Allocated, None)


@pytest.mark.parametrize("status", [200, 202, 207, 407])
@pytest.mark.parametrize("state", ["allocated", "Allocated", "ALLOCATED", "manifested"])
def test_state_decides(status: int, state: str) -> None:
    """The state in the body decides, in any case and under each status that has a result."""
    assert v2(api_response(status, result(state=state))) == Allocated(correlation_id="c-1")


@pytest.mark.parametrize(
    ("state", "on_200", "on_202"),
    [
        ("allocating", (Queued, "allocating"), (Queued, "allocating")),
        ("allocation_failed", (Refused, "allocation_failed"), (Refused, "allocation_failed")),
        ("Allocation Failed", (Refused, "allocation_failed"), (Refused, "allocation_failed")),
        ("cancelling", (Stopped, "wrong_state"), (Stopped, "wrong_state")),
        ("cancelled", (Stopped, "wrong_state"), (Stopped, "wrong_state")),
        ("destroyed", (Stopped, "wrong_state"), (Stopped, "wrong_state")),
        ("unallocated", (Unknown, "unallocated"), QUEUED),
        ("teleported", (Unknown, "unknown_state"), QUEUED),
        ("", (Unknown, "unknown_state"), QUEUED),
        (5, (Unknown, "unknown_state"), QUEUED),
        (None, (Unknown, "unreadable_response"), QUEUED),
    ],
)
def test_other_states(state: Any, on_200: object, on_202: object) -> None:
    """Other states are never an allocation; an uncertain 200 is unknown, a 202 queued."""
    for status, expected in ((200, on_200), (202, on_202)):
        outcome = v2(api_response(status, result(state=state)))
        assert (type(outcome), outcome.reason) == expected


def test_a_success_message_is_no_success() -> None:
    """A message that mentions success decides nothing."""
    body = {"message": f"Shipment {REF} has been allocated successfully", "shipment_reference": REF}
    assert isinstance(v2(api_response(200, body)), Unknown)


def test_failure_has_a_reason() -> None:
    """A result with a failure state is a definite refusal, with the codes and messages of its details."""
    details = [{"code": "allocation_failed", "message": "no", "details": [{"code": "carrier_service_not_found"}]}]
    assert v2(api_response(200, result(state="allocation_failed", details=details))) == Refused(
        reason="carrier_service_not_found", message="no", correlation_id="c-1"
    )
    odd = v2(api_response(200, result(state="allocation_failed", details=[{"code": "shipment_invalid_state"}])))
    assert (type(odd), odd.reason) == (Refused, "shipment_invalid_state")
    clash = v2(api_response(200, result(state="allocation_failed", details=[{"code": "rule_conflict"}])))
    assert (type(clash), clash.reason) == (Refused, "conflict")


def test_result_of_another_shipment_is_ignored() -> None:
    """An allocation of another shipment is no information about the requested one."""
    assert isinstance(v2(api_response(200, result(OTHER))), Unknown)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{}", b'"allocated"', b'{"code": "x"}'])
def test_unreadable_response(body: bytes) -> None:
    """A body without a known form is unknown, or queued if the status is 202."""
    for status in (200, 407):
        assert v2(api_response(status, body)).reason == "unreadable_response"
    for status in (202, 207):
        assert many(body, status) == [QUEUED] * 2


@pytest.mark.parametrize("status", [200, 202, 207, 407])
def test_a_page_queues_nothing(status: int) -> None:
    """A page from a proxy is unknown, whatever its status."""
    assert many(b"<html>please wait</html>", status) == [(Unknown, "unreadable_response")] * 2


def test_list_of_results() -> None:
    """Each entry of a list is the result of its own shipment; a missing one is unknown."""
    assert many([result(OTHER), result(REF, "allocating")], 207) == [(Queued, "allocating"), ALLOCATED]
    assert many([result(OTHER)], 407) == [MISSING, ALLOCATED]
    for status in (202, 207):
        assert many([result(OTHER, None), "rubbish", None], status) == [MISSING, QUEUED]


def test_success_without_a_reference_is_ignored() -> None:
    """In a response for several shipments, a success without a reference is attributed to none."""
    nameless = {"state": "allocated"}
    assert many([nameless]) == many(nameless) == many([nameless, nameless]) == [MISSING] * 2
    assert isinstance(v2(api_response(200, nameless)), Allocated)
    assert isinstance(v2(api_response(200, [nameless, nameless])), Unknown)


def test_contradiction_is_unknown() -> None:
    """A shipment with two contradicting results is read back."""
    assert many([result(), result(state="allocation_failed")])[0] == (Unknown, "contradictory_response")
    assert many({"queued": [REF], "rejected": [{"code": "x", "references": [REF]}]})[0][0] is Unknown
    assert many([result(), result()])[0] == ALLOCATED


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"code": "shipment_not_found"}, (Stopped, "shipment_not_found")),
        ({"code": "processing"}, (NotYet, "processing")),
        ({"code": "shipment_invalid_state"}, (Unknown, "invalid_state")),
        ({"code": "carrier_service_not_found"}, (Refused, "carrier_service_not_found")),
        ({"code": "rule_conflict"}, (Refused, "conflict")),
        ({"code": "too_heavy"}, (Refused, "too_heavy")),
        ({"message": "no"}, (Refused, "rejected")),
    ],
)
def test_queued_and_rejected(entry: dict[str, str], expected: tuple[type[Outcome], str]) -> None:
    """Queued shipments are queued; each rejected one has the outcome of its code."""
    body = {"message": "1 queued", "queued": [OTHER], "rejected": [{**entry, "references": [REF]}]}
    for status in (200, 202, 207, 407):
        assert many(body, status) == [expected, QUEUED]


def test_rejection_without_a_code_is_uncertain() -> None:
    """A rejection without a cause is read back before it counts."""
    body = {"rejected": [{"references": [REF]}, {"code": "too_heavy", "references": [OTHER]}]}
    outcomes = V2.read(SERVICE, [REF, OTHER], api_response(202, body), NOW)
    assert [isinstance(o, Refused) and o.certain for o in outcomes.values()] == [False, True]


def test_response_of_filters() -> None:
    """A response to filters has links to the accepted shipments; the others are unknown."""
    body = {"reference": "r", "message": "m", "shipments": [{"reference": REF, "rel": "shipment", "href": "x"}]}
    outcomes = V2.read(FILTERS, [REF, OTHER], api_response(202, body), NOW)
    assert [(type(o), o.reason) for o in outcomes.values()] == [QUEUED, MISSING]
    assert many({**body, "shipments": None}) == [QUEUED] * 2


def test_missing_fields_are_null() -> None:
    """Fields that are missing, empty or of another type are None."""
    price: dict[str, Any] = {"net": "free", "gross": 2.5, "currency": ""}
    carrier = {"reference": 5.0, "name": ["x"], "service_reference": "S"}
    tracking: dict[str, Any] = {"shipment": {"tracking_references": ["T", "", None, {}]}}
    body = result(price=price, carrier=carrier, tracking_details=tracking)
    assert v2(api_response(200, body)) == Allocated(
        carrier=Carrier(reference="5.0", service_reference="S"),
        price=Price(gross="2.5"),
        tracking_references=("T",),
        correlation_id="c-1",
    )
    assert v2(api_response(200, result(price={}, carrier=[], tracking_details="x"))) == Allocated(correlation_id="c-1")


def test_tracking_of_contents_is_used() -> None:
    """If the carrier has no reference for the shipment, those of its contents are used."""
    details = {"shipment": {"tracking_references": []}, "contents": [{"tracking_references": ["A"]}, {}, {"x": 1}]}
    outcome = v2(api_response(200, result(tracking_details=details)))
    assert isinstance(outcome, Allocated)
    assert outcome.tracking_references == ("A",)
