"""Calls that are refused as a whole, and foreign responses."""

from typing import Any

import httpx
import pytest

from tests.integration.sandbox.running_sandbox import RunningSandbox

LINETEN = "FF_LINET-00001"
BAD: dict[str, Any] = {"fault": "refused_whole", "because_of": ["sp_2", "EC-2"]}


def _v2(sandbox: RunningSandbox, *references: str) -> httpx.Response:
    return sandbox.client.put("/shipments/allocate", json={"shipments": references})


def _v1(sandbox: RunningSandbox, *references: str) -> httpx.Response:
    return sandbox.v1.put("/allocation/allocate", json={"ConsignmentReferences": references})


@pytest.mark.parametrize(
    ("option", "status", "code", "causes"),
    [
        ({}, 400, "validation_error", []),
        ({"code": "invalid_weight"}, 400, "validation_error", ["invalid_weight"]),
        ({"status": 404, "code": "shipment_not_found"}, 404, "not_found", ["shipment_not_found"]),
        ({"status": 422}, 422, "error", []),
    ],
)
def test_one_bad_shipment_refuses_the_call(
    sandbox: RunningSandbox, option: dict[str, Any], status: int, code: str, causes: list[str]
) -> None:
    """A call with the bad shipment is an error as a whole, without any effect; other calls succeed."""
    sandbox.set_faults({**BAD, **option})
    response = _v2(sandbox, "sp_1", "sp_2")
    body = response.json()
    assert (response.status_code, body["code"], [each["code"] for each in body["details"]]) == (status, code, causes)
    assert sandbox.state("sp_1") == "unallocated"
    assert _v2(sandbox, "sp_1", "sp_3").status_code == 202


def test_the_bad_shipment_is_refused_alone(sandbox: RunningSandbox) -> None:
    """A call for the bad shipment only is refused too, alone or in a list; it can be read."""
    sandbox.set_faults(BAD)
    responses = _v2(sandbox, "sp_2"), sandbox.put("sp_2", "service", LINETEN), _v1(sandbox, "EC-2")
    assert [each.status_code for each in responses] == [400, 400, 400]
    assert sandbox.state("sp_2") == "unallocated"


@pytest.mark.parametrize("partly", [True, False])
def test_v1_may_have_a_partial_effect(sandbox: RunningSandbox, *, partly: bool) -> None:
    """With `partly` the consignments before the bad one are allocated, although the call is a 400."""
    sandbox.set_faults({**BAD, "partly": partly})
    assert _v1(sandbox, "EC-0", "EC-1", "EC-2", "EC-3").status_code == 400
    allocated = [
        reference for reference in ("EC-0", "EC-1", "EC-2", "EC-3") if sandbox.history(reference)["allocations"]
    ]
    assert allocated == (["EC-0", "EC-1"] if partly else [])


def test_v2_has_no_partial_effect(sandbox: RunningSandbox) -> None:
    """v2 queues all of a call or nothing."""
    sandbox.set_faults({**BAD, "partly": True})
    assert _v2(sandbox, "sp_1", "sp_2").status_code == 400
    assert sandbox.state("sp_1") == "unallocated"


@pytest.mark.parametrize("status", [401, 403, 404, 405, 521])
@pytest.mark.parametrize(("body", "kind"), [("html", "text/html"), ("empty", "text/plain"), ("text", "text/plain")])
def test_foreign_responses(sandbox: RunningSandbox, status: int, body: str, kind: str) -> None:
    """A foreign response has its status, and a page, a line or nothing instead of the API's own format."""
    sandbox.set_faults({"fault": "foreign", "status": status, "body": body, "on": "allocate"})
    for response in (sandbox.put("sp_1", "service", LINETEN), _v1(sandbox, "sp_1")):
        assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (status, kind)
        assert bool(response.content) is (body != "empty")
        assert "{" not in response.text
    assert sandbox.state("sp_1") == "unallocated"


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "unauthorised"},
        {"fault": "forbidden"},
        {"fault": "status", "status": 502},
        {"fault": "status", "status": 503},
        {"fault": "foreign", "status": 401},
        BAD,
    ],
)
def test_every_error_may_have_retry_after(sandbox: RunningSandbox, fault: dict[str, Any]) -> None:
    """An error has `Retry-After` if the fault sets it."""
    sandbox.set_faults({**fault, "retry_after_s": 7})
    assert sandbox.put("sp_2", "service", LINETEN).headers["retry-after"] == "7"


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "status", "status": 404},
        {"fault": "foreign", "status": 500},
        {"fault": "foreign", "body": "shape"},
        {"fault": "garbage", "body": "text"},
        {"fault": "refused_whole"},
        {"fault": "refused_whole", "because_of": []},
        {"fault": "refused_whole", "because_of": ["sp_1"], "late_s": 1},
        {"fault": "status", "because_of": ["sp_1"]},
        {"fault": "status", "code": "processing"},
        {"fault": "status", "partly": True},
        {"fault": "drop", "conflict": True},
        {"fault": "drop", "late_s": -1},
        {"fault": "drop", "acts_share": 0.5},
        {"fault": "drop", "late_s": 1, "acts_share": 2},
        {"fault": "stuck", "late_s": 1},
        {"fault": "late", "queue_s": 1},
        {"fault": "drop", "lag_s": 1},
    ],
)
def test_an_option_must_match_its_fault(sandbox: RunningSandbox, fault: dict[str, Any]) -> None:
    """An option without an effect, or an unknown value, is refused."""
    assert sandbox.client.post("/_sandbox/faults", json=[fault]).status_code == 400
    assert sandbox.put("sp_1", "service", LINETEN).status_code == 200
