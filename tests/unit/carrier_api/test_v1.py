"""v1 responses to a call: summaries in three forms, and errors without codes."""

from typing import Any

import pytest

from tasks.rules.outcome import (
    Allocated,
    Carrier,
    Label,
    Outcome,
    Queued,
    Refused,
    Stopped,
    Throttled,
    Unknown,
)
from tests.unit.carrier_api.responses import ALL, EC, NOW, V1, api_response, v1

OTHER = "EC-000-05B-MMA"
DETAIL = {"Rel": "detail", "Href": f"https://api.electioapp.com/consignments/{EC}"}
LEG = {"Leg": 1, "TrackingReferences": ["T1"], "CarrierReference": "CX", "CarrierName": "Carrier X"}
REFUSED: tuple[type[Outcome], str] = (Refused, "refused")
MISSING = (Unknown, "missing_in_response")


def many(body: Any, status: int = 200) -> list[tuple[type[Outcome], str | None]]:
    """The outcomes of a response for two consignments."""
    outcomes = V1.read(ALL[3], [EC, OTHER], api_response(status, body), NOW)
    assert list(outcomes) == [EC, OTHER]
    return [(type(outcome), outcome.reason) for outcome in outcomes.values()]


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ({"IsSuccess": True}, (Allocated, None)),
        ({"IsSuccess": "true"}, (Allocated, None)),
        ({"StatusCode": 200}, (Allocated, None)),
        ({"StatusCode": "201"}, (Allocated, None)),
        ({"IsSuccess": True, "StatusCode": 200}, (Allocated, None)),
        ({"StatusCode": 202}, (Queued, "queued")),
        ({"IsSuccess": False}, REFUSED),
        ({"IsSuccess": "false"}, REFUSED),
        ({"IsSuccess": False, "StatusCode": 200}, REFUSED),
        ({"IsSuccess": True, "StatusCode": 400}, REFUSED),
        ({"StatusCode": 400}, REFUSED),
        ({"StatusCode": 404}, REFUSED),
        ({"StatusCode": 429}, (Throttled, "throttled")),
        ({"StatusCode": 503}, (Unknown, "server_error")),
        ({"IsSuccess": False, "StatusCode": 503}, (Unknown, "server_error")),
        ({"IsSuccess": None, "StatusCode": "OK"}, (Unknown, "unreadable_response")),
        ({"Message": f"Consignment {EC} has been successfully allocated"}, (Unknown, "unreadable_response")),
        ({}, (Unknown, "unreadable_response")),
    ],
)
def test_own_flag_decides(summary: dict[str, Any], expected: object) -> None:
    """A summary succeeds or fails by its flag or its own status code, alone or in a list, never by its message."""
    for body in (summary, [summary]):
        outcome = v1(api_response(200, body))
        assert (type(outcome), outcome.reason) == expected


@pytest.mark.parametrize("status", [400, 404])
def test_refusal_has_no_cause(status: int) -> None:
    """A refusal may also mean that the consignment is allocated already: it is uncertain, with its message."""
    assert v1(api_response(status, {"Message": "no"})) == Refused(reason="refused", message="no", certain=False)
    assert v1(api_response(200, [{"IsSuccess": False, "Message": "no"}])) == v1(
        api_response(status, {"Description": "no"})
    )
    assert v1(api_response(status)) == Refused(reason="refused", message=f"HTTP {status}", certain=False)


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (401, Stopped, "unauthorised"),
        (403, Stopped, "forbidden"),
        (410, Stopped, "shipment_gone"),
        (429, Throttled, "throttled"),
        *((status, Unknown, "server_error") for status in (500, 502, 503, 504, 521, 531)),
        *((status, Unknown, "unexpected_status") for status in (100, 204, 302, 304, 405, 407, 409)),
    ],
)
def test_status(status: int, kind: type[Outcome], reason: str) -> None:
    """If v1 has no other meaning for a status, v2's applies; v2's two own statuses are server errors here."""
    for body in (b"", b"<html></html>", b'{"message": "no"}', b'[{"IsSuccess": true}]'):
        outcome = v1(api_response(status, body))
        assert (type(outcome), outcome.reason) == (kind, reason)


def test_throttled_has_retry_after() -> None:
    """The gateway's message and its `Retry-After` are kept."""
    response = api_response(429, {"statusCode": 429, "message": "Rate limit is exceeded."}, retry_after="7")
    assert v1(response) == Throttled(reason="throttled", message="Rate limit is exceeded.", retry_after_s=7.0)


def test_202_is_queued() -> None:
    """202 is queued, also with a success flag, unless a summary has more."""
    for body in (b"", b"{}", b"[{}]", b"[]", b'[{"IsSuccess": true}]', b'{"StatusCode": 202, "IsSuccess": true}'):
        assert v1(api_response(202, body)) == Queued(reason="queued")
    assert v1(api_response(200, [{"StatusCode": 202}])) == Queued(reason="queued")
    assert isinstance(v1(api_response(202, [{"StatusCode": 200, "IsSuccess": True}])), Allocated)
    assert v1(api_response(202, [{"IsSuccess": False}])).reason == "refused"
    assert many(b"", 202) == [(Queued, "queued")] * 2
    assert v1(api_response(202, b"<html><body>please wait</body></html>")).reason == "unreadable_response"


def test_207_has_several_results() -> None:
    """Each summary of a 207 is the result of its consignment; missing ones are queued."""
    response = [{"IsSuccess": True, "Data": EC}, {"Data": OTHER}]
    assert many(response, 207) == [(Allocated, None), (Queued, "queued")]
    assert many(b"", 207) == [(Queued, "queued")] * 2


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b'"allocated"', b"<!DOCTYPE html><html></html>"])
def test_unreadable_response(body: bytes) -> None:
    """A 200 without a summary is unknown."""
    assert many(body) == [(Unknown, "unreadable_response")] * 2


@pytest.mark.parametrize(
    "naming",
    [
        {"Data": EC},
        {"Data": EC, "ApiLinks": [{**DETAIL, "Href": f"https://h/consignments/{OTHER}"}]},
        {"ApiLinks": [DETAIL]},
        {"ApiLinks": [{**DETAIL, "Rel": "Link"}]},
        {"Data": "their-own-name", "ApiLinks": [DETAIL]},
        {"Data": None, "ApiLinks": [{"Rel": "label", "Href": "https://h/labels/x"}, DETAIL]},
        {"ApiLinks": [{**DETAIL, "Href": "https://h/consignments/EC%2D000-05A-Z6S/?v=1"}]},
    ],
)
def test_reference_of_a_summary(naming: dict[str, Any]) -> None:
    """`Data`, else the end of the link to the consignment."""
    assert many([{"IsSuccess": True, **naming}]) == [(Allocated, None), MISSING]


def test_each_succeeds_by_itself() -> None:
    """In a list each consignment has its own outcome, in any order; a missing one is unknown."""
    assert many([{"IsSuccess": False, "Data": OTHER}, {"StatusCode": 200, "ApiLinks": [DETAIL]}]) == [
        (Allocated, None),
        REFUSED,
    ]
    assert many([{"IsSuccess": False, "Data": OTHER}, "rubbish"]) == [MISSING, REFUSED]


def test_success_without_a_reference_is_ignored() -> None:
    """In a response for several consignments, a success without a reference is attributed to none."""
    nameless = {"IsSuccess": True, "Message": f"Consignment {EC} has been allocated", "ApiLinks": None}
    assert many([nameless]) == many([nameless, nameless]) == many(nameless) == [MISSING] * 2
    assert v1(api_response(200, [nameless, nameless])).reason == "missing_in_response"
    assert v1(api_response(200, [{"IsSuccess": True, "Data": OTHER}])).reason == "missing_in_response"


@pytest.mark.parametrize("first", [0, 1])
def test_legs(first: int) -> None:
    """Tracking references of all legs, ordered by number, from 0 or from 1; the carrier is the first leg's."""
    legs = [{**LEG, "Leg": first + 1, "TrackingReferences": ["T2", "T3"], "CarrierName": "Y"}, {**LEG, "Leg": first}]
    assert v1(api_response(200, {"StatusCode": 200, "ConsignmentLegs": legs})) == Allocated(
        carrier=Carrier(reference="CX", name="Carrier X"), tracking_references=("T1", "T2", "T3")
    )


def test_summary_names_the_carrier() -> None:
    """A carrier in the summary takes precedence over the legs."""
    body = {"StatusCode": 200, "ConsignmentLegs": [LEG, None], "CarrierName": "Z", "CarrierServiceReference": "Z1"}
    outcome = v1(api_response(200, body))
    assert isinstance(outcome, Allocated)
    assert outcome.carrier == Carrier(name="Z", service_reference="Z1")


def test_labels_have_the_stated_format() -> None:
    """A label link without a format in its path has none."""
    links = [{"Rel": "Label", "Href": f"https://h/labels/{EC}"}, {"Rel": "label", "Href": f"https://h/labels/{EC}/ZPL"}]
    outcome = v1(api_response(200, {"StatusCode": 200, "ApiLinks": links}))
    assert isinstance(outcome, Allocated)
    assert outcome.labels == (
        Label(href=f"https://h/labels/{EC}"),
        Label(href=f"https://h/labels/{EC}/ZPL", format="zpl"),
    )
