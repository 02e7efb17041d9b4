"""Each fault as a caller meets it, on a real connection."""

from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.integration.sandbox.running_sandbox import Running, shipment_reference

LINETEN = "FF_LINET-00001"


def _meet(sandbox: Running, **fault: Any) -> tuple[str, httpx.Response]:
    reference = shipment_reference()
    sandbox.break_with({"references": [reference], "on": "allocate", **fault})
    return reference, sandbox.put(reference, "service", LINETEN)


Errors = type[httpx.TransportError] | tuple[type[httpx.TransportError], ...]


def _fail(sandbox: Running, error: Errors, **fault: Any) -> str:
    reference = shipment_reference()
    sandbox.break_with({"references": [reference], "on": "allocate", **fault})
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
def test_errors_say_what_they_are(sandbox: Running, fault: dict[str, Any], status: int, cause: str) -> None:
    """An error fault answers its status and code, and nothing was allocated."""
    reference, answer = _meet(sandbox, **fault)
    body = answer.json()
    assert (answer.status_code, (body["details"] or [body])[0]["code"]) == (status, cause)
    assert "retry-after" not in answer.headers
    assert sandbox.state(reference) == "unallocated"


def test_throttling_may_say_for_how_long(sandbox: Running) -> None:
    """A 429 carries `Retry-After` when the fault says so."""
    _, answer = _meet(sandbox, fault="throttled", retry_after_s=7)
    assert answer.headers["retry-after"] == "7"


def test_gateways_answer_in_their_own_way(sandbox: Running) -> None:
    """A 502 is an HTML page and a 504 has no body."""
    _, bad_gateway = _meet(sandbox, fault="status", status=502)
    _, timeout = _meet(sandbox, fault="status", status=504)
    assert (bad_gateway.status_code, bad_gateway.headers["content-type"]) == (502, "text/html")
    assert (timeout.status_code, timeout.content) == (504, b"")


@pytest.mark.parametrize("body", ["html", "shape", "empty"])
def test_garbage_is_a_success_without_sense(sandbox: Running, body: str) -> None:
    """A garbage answer is a 200 from which no allocation can be read."""
    _, answer = _meet(sandbox, fault="garbage", body=body)
    assert answer.status_code == 200
    assert '"allocated",' not in answer.text


@pytest.mark.parametrize("fault", ["drop", "hang", "status", "garbage", "throttled"])
@pytest.mark.parametrize("acts", [True, False])
def test_a_fault_strikes_before_or_after_the_api_acts(sandbox: Running, fault: str, *, acts: bool) -> None:
    """With `acts` the shipment is allocated although the caller cannot know; without, it is not."""
    reference = shipment_reference()
    sandbox.break_with({"fault": fault, "references": [reference], "on": "allocate", "acts": acts})
    with suppress(httpx.TransportError):
        sandbox.put(reference, "service", LINETEN, timeout=0.1)
    assert sandbox.state(reference) == ("allocated" if acts else "unallocated")


def test_a_dropped_connection_gives_no_answer(sandbox: Running) -> None:
    """The caller of a dropped call sees its connection go, and the history shows no status."""
    reference = _fail(sandbox, (httpx.NetworkError, httpx.RemoteProtocolError), fault="drop")
    (call,) = sandbox.history(reference)["calls"]
    assert (call["fault"], call["status"]) == ("drop", None)


def test_half_an_answer_is_broken(sandbox: Running) -> None:
    """A cut answer breaks off in its body, and the shipment is allocated."""
    reference = _fail(sandbox, httpx.RemoteProtocolError, fault="cut")
    assert sandbox.state(reference) == "allocated"


def test_a_hanging_call_ends_by_the_caller(sandbox: Running) -> None:
    """A hanging call is never answered."""
    _fail(sandbox, httpx.ReadTimeout, fault="hang")


def test_a_slow_call_acts_even_if_nobody_waits(sandbox: Running) -> None:
    """A slow call acts at the end of its delay, although the caller has left by then."""
    reference = _fail(sandbox, httpx.ReadTimeout, fault="slow", latency_s=0.8)
    assert sandbox.state(reference) == "unallocated"
    while sandbox.state(reference) == "unallocated":
        pass
    assert sandbox.counts()["allocated"] == 1


def test_a_slow_call_may_act_first(sandbox: Running) -> None:
    """With `acts` only the answer is late."""
    reference = _fail(sandbox, httpx.ReadTimeout, fault="slow", latency_s=5, acts=True)
    assert sandbox.state(reference) == "allocated"


def test_a_single_call_may_be_queued(sandbox: Running) -> None:
    """A queued call is a 202 and is decided a little later."""
    reference, answer = _meet(sandbox, fault="queued")
    assert (answer.status_code, answer.json()["state"]) == (202, "allocating")
    assert sandbox.settled(reference) == "allocated"


def test_a_shipment_may_stay_in_allocating(sandbox: Running) -> None:
    """A stuck shipment is still `allocating` when one that was queued after it is done."""
    stuck, _ = _meet(sandbox, fault="stuck")
    queued, _ = _meet(sandbox, fault="queued")
    assert sandbox.settled(queued) == "allocated"
    assert sandbox.state(stuck) == "allocating"


@pytest.mark.parametrize("acts", [True, False])
def test_an_entry_may_be_missing(sandbox: Running, *, acts: bool) -> None:
    """v1's answer for many leaves out the struck consignment, which is allocated if the API acts."""
    sandbox.break_with({"fault": "omit", "references": ["EC-2"], "acts": acts})
    body = {"ConsignmentReferences": ["EC-1", "EC-2", "EC-3"]}
    answer = sandbox.v1.put("/allocation/allocate", json=body).json()
    assert [each["ApiLinks"][0]["Href"][-4:] for each in answer] == ["EC-1", "EC-3"]
    assert sandbox.history("EC-2")["allocations"] == int(acts)


def test_v1_waits_too(sandbox: Running) -> None:
    """A queued consignment is a 202, alone or in a list."""
    sandbox.break_with({"fault": "queued"})
    one = sandbox.v1.put("/allocation/EC-1/allocatewithcheapestquote")
    (many,) = sandbox.v1.put("/allocation/allocate", json={"ConsignmentReferences": ["EC-2"]}).json()
    assert (one.status_code, many["StatusCode"]) == (202, 202)
    assert sandbox.v1.get("/consignments/EC-2/status").json()["Status"] in {"Allocating", "Allocated"}


def test_reads_and_quotes_fail_by_themselves(sandbox: Running) -> None:
    """A fault on reads leaves allocations alone, and one on quotes leaves both alone."""
    sandbox.break_with({"fault": "status", "on": "read"}, {"fault": "gone", "on": "quote"})
    assert sandbox.client.get("/shipments/sp_1").status_code == 500
    assert sandbox.client.post("/shipments/sp_1/quote").status_code == 410
    assert sandbox.put("sp_1", "service", LINETEN).status_code == 200


def test_faults_can_be_removed(sandbox: Running) -> None:
    """After a DELETE all is well again."""
    sandbox.break_with({"fault": "status"})
    assert sandbox.client.delete("/_sandbox/faults").status_code == 204
    assert sandbox.put("sp_1", "service", LINETEN).status_code == 200


@pytest.mark.parametrize(
    "fault", [{}, {"fault": "other"}, {"fault": "drop", "shares": 1}, {"fault": "drop", "share": 2}]
)
def test_a_fault_must_be_understood(sandbox: Running, fault: dict[str, Any]) -> None:
    """A fault that cannot be read is refused and none is put in force."""
    assert sandbox.client.post("/_sandbox/faults", json=[{"fault": "drop"}, fault]).status_code == 400
    assert sandbox.put("sp_1", "service", LINETEN).status_code == 200
