"""A gateway that sends a call twice: the caller gets the response to the second pass."""

from typing import Any

import httpx
import pytest

from tests.integration.sandbox.running_sandbox import RunningSandbox

LINETEN = "FF_LINET-00001"


def _cause(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["details"][0]["code"]


@pytest.mark.parametrize(
    ("conflict", "status", "cause"), [(False, 400, "invalid_state_for_operation"), (True, 429, "rule_conflict")]
)
@pytest.mark.parametrize("late_s", [0, 0.05])
def test_the_second_pass_is_refused(
    sandbox: RunningSandbox, late_s: float, status: int, cause: str, *, conflict: bool
) -> None:
    """The caller gets a wrong state or a conflict; the first pass allocates, at once or later, and only once."""
    sandbox.set_faults({"fault": "repeated", "conflict": conflict, "late_s": late_s})
    assert _cause(sandbox.put("sp_1", "service", LINETEN)) == (status, cause)
    assert (sandbox.allocations("sp_1"), sandbox.counts()["blind_repeats"]) == (1, [])
    assert [each["state_before"] for each in sandbox.late_actions()] == (["unallocated"] if late_s else [])


@pytest.mark.parametrize("late_s", [0, 0.05])
def test_a_repeated_bulk_call(sandbox: RunningSandbox, late_s: float) -> None:
    """v2 rejects every shipment that the first pass queued, and repeats its response for the others."""
    sandbox.set_faults({"fault": "repeated", "late_s": late_s})
    body = {"shipments": ["sp_1", "sp_2", "not a reference"]}
    response = sandbox.client.put("/shipments/allocate", json=body).json()
    assert response["queued"] == []
    assert {each["code"]: each["references"] for each in response["rejected"]} == {
        "invalid_state_for_operation": ["sp_1", "sp_2"],
        "shipment_not_found": ["not a reference"],
    }
    assert [sandbox.allocations(each) for each in ("sp_1", "sp_2")] == [1, 1]


@pytest.mark.parametrize("late_s", [0, 0.05])
@pytest.mark.parametrize(("conflict", "status"), [(False, 400), (True, 429)])
def test_consignments_are_refused_too(sandbox: RunningSandbox, late_s: float, status: int, *, conflict: bool) -> None:
    """v1 refuses the second pass, alone or in every entry."""
    sandbox.set_faults({"fault": "repeated", "conflict": conflict, "late_s": late_s})
    one = sandbox.v1.put("/allocation/EC-1/allocatewithcheapestquote")
    many = sandbox.v1.put("/allocation/allocate", json={"ConsignmentReferences": ["EC-2", "EC-3"]})
    assert (one.status_code, [each["StatusCode"] for each in many.json()]) == (status, [status, status])
    assert [sandbox.allocations(each) for each in ("EC-1", "EC-2", "EC-3")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("path", "status"),
    [(("service", "ALWAYS_REFUSES"), 521), (("service", "nothing"), 400), (("quote", "nothing"), 404)],
)
@pytest.mark.parametrize("late_s", [0, 600])
def test_a_refused_call_is_refused_twice(
    sandbox: RunningSandbox, path: tuple[str, str], status: int, late_s: float
) -> None:
    """After a refused first pass, the second one has nothing to conflict with."""
    sandbox.set_faults({"fault": "repeated", "conflict": True, "late_s": late_s})
    late_refusal = late_s and status == 521
    assert sandbox.put("sp_1", *path).status_code == (429 if late_refusal else status)


def test_only_allocations_are_repeated(sandbox: RunningSandbox) -> None:
    """A read is not struck by it."""
    sandbox.set_faults({"fault": "repeated"})
    assert sandbox.state("sp_1") == "unallocated"
    entries: list[Any] = sandbox.history("sp_1")["calls"]
    assert entries[0]["fault"] is None
