"""A gateway that sends a call twice: the caller is answered by the second pass."""

from typing import Any

import httpx
import pytest

from tests.integration.sandbox.running_sandbox import Running

LINETEN = "FF_LINET-00001"


def _cause(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["details"][0]["code"]


@pytest.mark.parametrize(
    ("conflict", "status", "cause"), [(False, 400, "invalid_state_for_operation"), (True, 429, "rule_conflict")]
)
@pytest.mark.parametrize("late_s", [0, 0.05])
def test_the_second_pass_is_refused(
    sandbox: Running, late_s: float, status: int, cause: str, *, conflict: bool
) -> None:
    """The caller hears of a wrong state or a conflict; the first pass allocates, at once or later, and only once."""
    sandbox.break_with({"fault": "repeated", "conflict": conflict, "late_s": late_s})
    assert _cause(sandbox.put("sp_1", "service", LINETEN)) == (status, cause)
    assert (sandbox.allocations("sp_1"), sandbox.counts()["blind_repeats"]) == (1, [])
    assert [each["state_before"] for each in sandbox.acted()] == (["unallocated"] if late_s else [])


@pytest.mark.parametrize("late_s", [0, 0.05])
def test_a_repeated_call_for_many(sandbox: Running, late_s: float) -> None:
    """v2 rejects every shipment that the first pass queued, and says of the others what it said before."""
    sandbox.break_with({"fault": "repeated", "late_s": late_s})
    body = {"shipments": ["sp_1", "sp_2", "not a reference"]}
    answer = sandbox.client.put("/shipments/allocate", json=body).json()
    assert answer["queued"] == []
    assert {each["code"]: each["references"] for each in answer["rejected"]} == {
        "invalid_state_for_operation": ["sp_1", "sp_2"],
        "shipment_not_found": ["not a reference"],
    }
    assert [sandbox.allocations(each) for each in ("sp_1", "sp_2")] == [1, 1]


@pytest.mark.parametrize("late_s", [0, 0.05])
@pytest.mark.parametrize(("conflict", "status"), [(False, 400), (True, 429)])
def test_consignments_are_refused_too(sandbox: Running, late_s: float, status: int, *, conflict: bool) -> None:
    """v1 refuses the second pass, alone or in every entry."""
    sandbox.break_with({"fault": "repeated", "conflict": conflict, "late_s": late_s})
    one = sandbox.v1.put("/allocation/EC-1/allocatewithcheapestquote")
    many = sandbox.v1.put("/allocation/allocate", json={"ConsignmentReferences": ["EC-2", "EC-3"]})
    assert (one.status_code, [each["StatusCode"] for each in many.json()]) == (status, [status, status])
    assert [sandbox.allocations(each) for each in ("EC-1", "EC-2", "EC-3")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("path", "status"),
    [(("service", "ALWAYS_REFUSES"), 521), (("service", "nothing"), 400), (("quote", "nothing"), 404)],
)
@pytest.mark.parametrize("late_s", [0, 600])
def test_what_is_refused_is_refused_twice(sandbox: Running, path: tuple[str, str], status: int, late_s: float) -> None:
    """A first pass that was refused leaves the second pass nothing to conflict with."""
    sandbox.break_with({"fault": "repeated", "conflict": True, "late_s": late_s})
    late_refusal = late_s and status == 521
    assert sandbox.put("sp_1", *path).status_code == (429 if late_refusal else status)


def test_only_allocations_are_repeated(sandbox: Running) -> None:
    """A read is not struck by it."""
    sandbox.break_with({"fault": "repeated"})
    assert sandbox.state("sp_1") == "unallocated"
    told: list[Any] = sandbox.history("sp_1")["calls"]
    assert told[0]["fault"] is None
