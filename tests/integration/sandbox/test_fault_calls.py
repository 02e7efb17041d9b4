"""The effect of each fault on a caller, over a real connection."""

from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.integration.sandbox.running_sandbox import RunningSandbox, shipment_reference

LINETEN = "FF_LINET-00001"


def _call_with_fault(sandbox: RunningSandbox, **fault: Any) -> tuple[str, httpx.Response]:
    reference = shipment_reference()
    sandbox.set_faults({"references": [reference], "on": "allocate", **fault})
    return reference, sandbox.put(reference, "service", LINETEN)


Errors = type[httpx.TransportError] | tuple[type[httpx.TransportError], ...]


def _fail(sandbox: RunningSandbox, error: Errors, **fault: Any) -> str:
    reference = shipment_reference()
    sandbox.set_faults({"references": [reference], "on": "allocate", **fault})
    with pytest.raises(error):
        sandbox.put(reference, "service", LINETEN, timeout=0.2)
    return reference


@pytest.mark.parametrize(
    ("fault", "status", "cause"),
    [
        ({"fault": "throttled"}, 429, "too_many_requests"),
        ({"fault": "conflict"}, 429, "rule_conflict"),
        ({"fault": "unauthorised"}, 401, "unauthorized"),
        ({"fault": "forbidden"}, 403, "forbidden"),
        ({"fault": "gone"}, 410, "resource_removed"),
        ({"fault": "status"}, 500, "internal_server_error"),
        ({"fault": "status", "status": 503}, 503, "service_unavailable"),
    ],
)
def test_errors_have_their_code(sandbox: RunningSandbox, fault: dict[str, Any], status: int, cause: str) -> None:
    """An error fault responds with its status and code, and nothing was allocated."""
    reference, response = _call_with_fault(sandbox, **fault)
    body = response.json()
    assert (response.status_code, (body["details"] or [body])[0]["code"]) == (status, cause)
    assert "retry-after" not in response.headers
    assert sandbox.state(reference) == "unallocated"


def test_throttling_may_have_retry_after(sandbox: RunningSandbox) -> None:
    """A 429 has `Retry-After` if the fault sets it."""
    _, response = _call_with_fault(sandbox, fault="throttled", retry_after_s=7)
    assert response.headers["retry-after"] == "7"


def test_responses_of_gateways(sandbox: RunningSandbox) -> None:
    """A 502 is an HTML page and a 504 has no body."""
    _, bad_gateway = _call_with_fault(sandbox, fault="status", status=502)
    _, timeout = _call_with_fault(sandbox, fault="status", status=504)
    assert (bad_gateway.status_code, bad_gateway.headers["content-type"]) == (502, "text/html")
    assert (timeout.status_code, timeout.content) == (504, b"")


@pytest.mark.parametrize("body", ["html", "shape", "empty"])
def test_garbage_is_an_unreadable_success(sandbox: RunningSandbox, body: str) -> None:
    """A garbage response is a 200 that contains no readable allocation."""
    _, response = _call_with_fault(sandbox, fault="garbage", body=body)
    assert response.status_code == 200
    assert '"allocated",' not in response.text


@pytest.mark.parametrize("fault", ["drop", "hang", "status", "garbage", "throttled"])
@pytest.mark.parametrize("acts", [True, False])
def test_a_fault_strikes_before_or_after_the_api_acts(sandbox: RunningSandbox, fault: str, *, acts: bool) -> None:
    """With `acts` the shipment is allocated although the caller cannot know; without, it is not."""
    reference = shipment_reference()
    sandbox.set_faults({"fault": fault, "references": [reference], "on": "allocate", "acts": acts})
    with suppress(httpx.TransportError):
        sandbox.put(reference, "service", LINETEN, timeout=0.1)
    assert sandbox.state(reference) == ("allocated" if acts else "unallocated")


def test_a_dropped_connection_has_no_response(sandbox: RunningSandbox) -> None:
    """The connection of a dropped call closes, and the history has no status."""
    reference = _fail(sandbox, (httpx.NetworkError, httpx.RemoteProtocolError), fault="drop")
    (call,) = sandbox.history(reference)["calls"]
    assert (call["fault"], call["status"]) == ("drop", None)


def test_half_a_response_is_broken(sandbox: RunningSandbox) -> None:
    """A truncated response ends in its body, and the shipment is allocated."""
    reference = _fail(sandbox, httpx.RemoteProtocolError, fault="cut")
    assert sandbox.state(reference) == "allocated"


def test_a_hanging_call_has_no_response(sandbox: RunningSandbox) -> None:
    """A hanging call ends only by the caller."""
    _fail(sandbox, httpx.ReadTimeout, fault="hang")


def test_a_slow_call_acts_after_the_caller_left(sandbox: RunningSandbox) -> None:
    """A slow call acts at the end of its delay, although the caller has disconnected."""
    reference = _fail(sandbox, httpx.ReadTimeout, fault="slow", latency_s=0.8)
    assert sandbox.state(reference) == "unallocated"
    while sandbox.state(reference) == "unallocated":
        pass
    assert sandbox.counts()["allocated"] == 1


def test_a_slow_call_may_act_first(sandbox: RunningSandbox) -> None:
    """With `acts` only the response is late."""
    reference = _fail(sandbox, httpx.ReadTimeout, fault="slow", latency_s=5, acts=True)
    assert sandbox.state(reference) == "allocated"


def test_a_single_call_may_be_queued(sandbox: RunningSandbox) -> None:
    """A queued call is a 202 and is decided a little later."""
    reference, response = _call_with_fault(sandbox, fault="queued")
    assert (response.status_code, response.json()["state"]) == (202, "allocating")
    assert sandbox.settled(reference) == "allocated"


def test_a_shipment_may_stay_allocating(sandbox: RunningSandbox) -> None:
    """A stuck shipment is still `allocating` when one that was queued after it is decided."""
    stuck, _ = _call_with_fault(sandbox, fault="stuck")
    queued, _ = _call_with_fault(sandbox, fault="queued")
    assert sandbox.settled(queued) == "allocated"
    assert sandbox.state(stuck) == "allocating"


@pytest.mark.parametrize("acts", [True, False])
def test_an_entry_may_be_missing(sandbox: RunningSandbox, *, acts: bool) -> None:
    """v1's response to a bulk call omits the struck consignment, which is allocated if the API acts."""
    sandbox.set_faults({"fault": "omit", "references": ["EC-2"], "acts": acts})
    body = {"ConsignmentReferences": ["EC-1", "EC-2", "EC-3"]}
    response = sandbox.v1.put("/allocation/allocate", json=body).json()
    assert [each["ApiLinks"][0]["Href"][-4:] for each in response] == ["EC-1", "EC-3"]
    assert sandbox.history("EC-2")["allocations"] == int(acts)


def test_v1_calls_may_be_queued(sandbox: RunningSandbox) -> None:
    """A queued consignment is a 202, alone or in a list."""
    sandbox.set_faults({"fault": "queued"})
    one = sandbox.v1.put("/allocation/EC-1/allocatewithcheapestquote")
    (many,) = sandbox.v1.put("/allocation/allocate", json={"ConsignmentReferences": ["EC-2"]}).json()
    assert (one.status_code, many["StatusCode"]) == (202, 202)
    assert sandbox.v1.get("/consignments/EC-2/status").json()["Status"] in {"Allocating", "Allocated"}


def test_reads_and_quotes_have_their_own_faults(sandbox: RunningSandbox) -> None:
    """A fault on reads does not affect allocations, and one on quotes affects neither of them."""
    sandbox.set_faults({"fault": "status", "on": "read"}, {"fault": "gone", "on": "quote"})
    assert sandbox.client.get("/shipments/sp_1").status_code == 500
    assert sandbox.client.post("/shipments/sp_1/quote").status_code == 410
    assert sandbox.put("sp_1", "service", LINETEN).status_code == 200


def test_faults_can_be_removed(sandbox: RunningSandbox) -> None:
    """After a DELETE no fault is active."""
    sandbox.set_faults({"fault": "status"})
    assert sandbox.client.delete("/_sandbox/faults").status_code == 204
    assert sandbox.put("sp_1", "service", LINETEN).status_code == 200


@pytest.mark.parametrize(
    "fault", [{}, {"fault": "other"}, {"fault": "drop", "shares": 1}, {"fault": "drop", "share": 2}]
)
def test_invalid_faults_are_refused(sandbox: RunningSandbox, fault: dict[str, Any]) -> None:
    """A fault that cannot be parsed is refused and none is set."""
    assert sandbox.client.post("/_sandbox/faults", json=[{"fault": "drop"}, fault]).status_code == 400
    assert sandbox.put("sp_1", "service", LINETEN).status_code == 200
