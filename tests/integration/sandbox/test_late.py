"""Calls that the API acts on after they were answered, or not answered."""

from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.integration.sandbox.running_sandbox import Running, shipment_reference, until

LINETEN = "FF_LINET-00001"
SOON, NEVER = 0.05, 600

BAD_ANSWERS: list[dict[str, Any]] = [
    {"fault": "late"},
    {"fault": "status", "status": 500},
    {"fault": "status", "status": 502},
    {"fault": "status", "status": 503, "retry_after_s": 1},
    {"fault": "status", "status": 504},
    {"fault": "drop"},
    {"fault": "cut"},
    {"fault": "hang"},
    {"fault": "slow", "latency_s": 0.01},
    {"fault": "slow", "latency_s": 0.01, "acts": True},
    {"fault": "garbage", "body": "shape"},
    {"fault": "omit"},
    {"fault": "throttled"},
    {"fault": "foreign", "status": 405},
]


def _ask(sandbox: Running, reference: str, service: str = LINETEN) -> httpx.Response | None:
    with suppress(httpx.TransportError):
        return sandbox.put(reference, "service", service, timeout=0.5)
    return None


def _many(sandbox: Running, *references: str) -> Any:
    answer = sandbox.client.put("/shipments/allocate", json={"shipments": references})
    return answer.status_code, answer.json()


@pytest.mark.parametrize("fault", BAD_ANSWERS, ids=lambda fault: f"{fault['fault']}-{fault.get('status', '')}")
def test_until_it_acts_nothing_is_changed(sandbox: Running, fault: dict[str, Any]) -> None:
    """After a call that is late the state is the old one, and one action is pending."""
    sandbox.break_with({**fault, "on": "allocate", "late_s": NEVER})
    _ask(sandbox, "sp_1")
    assert (sandbox.state("sp_1"), sandbox.pending()) == ("unallocated", 1)


@pytest.mark.parametrize("fault", BAD_ANSWERS, ids=lambda fault: f"{fault['fault']}-{fault.get('status', '')}")
def test_later_it_acts_once(sandbox: Running, fault: dict[str, Any]) -> None:
    """However the call was answered, the shipment is allocated by it in the end."""
    sandbox.break_with({**fault, "on": "allocate", "late_s": SOON})
    _ask(sandbox, "sp_1")
    until(lambda: sandbox.state("sp_1") == "allocated")
    assert (sandbox.allocations("sp_1"), sandbox.counts()["blind_repeats"]) == (1, [])


def test_a_late_call_is_answered_as_queued(sandbox: Running) -> None:
    """`late` alone is a 202 that says `allocating`, while a GET says the old state."""
    sandbox.break_with({"fault": "late", "late_s": NEVER})
    answer = sandbox.put("sp_1", "virtual_service", LINETEN)
    assert (answer.status_code, answer.json()["state"]) == (202, "allocating")
    assert sandbox.state("sp_1") == "unallocated"


def test_the_old_state_may_be_a_failure(sandbox: Running) -> None:
    """A shipment whose allocation failed stays so until the late call acts."""
    _ask(sandbox, "sp_1", "ALWAYS_REFUSES")
    sandbox.break_with({"fault": "status", "on": "allocate", "late_s": NEVER})
    _ask(sandbox, "sp_1")
    assert sandbox.state("sp_1") == "allocation_failed"


def test_a_late_call_may_be_refused(sandbox: Running) -> None:
    """A service that takes no shipment refuses it later, too; an unknown one at once."""
    sandbox.break_with({"fault": "late", "late_s": SOON})
    assert sandbox.put("sp_1", "service", "ALWAYS_REFUSES").status_code == 202
    assert sandbox.put("sp_2", "service", "nothing").status_code == 400
    until(lambda: sandbox.state("sp_1") == "allocation_failed")
    assert (sandbox.allocations("sp_1"), sandbox.state("sp_2")) == (0, "unallocated")


def test_a_quote_may_be_taken_up_late(sandbox: Running) -> None:
    """The quote of a late call decides the service when it acts."""
    quote = sandbox.client.post("/shipments/sp_1/quote").json()["quotes"][-1]
    sandbox.break_with({"fault": "drop", "on": "allocate", "late_s": SOON})
    with suppress(httpx.TransportError):
        sandbox.put("sp_1", "quote", quote["reference"])
    until(lambda: sandbox.state("sp_1") == "allocated")
    assert sandbox.client.get("/shipments/sp_1").json()["allocation"]["carrier"] == quote["carrier"]


@pytest.mark.parametrize("other", ["at once", "late", "queued"])
def test_who_asks_too_early_pays_twice(sandbox: Running, other: str) -> None:
    """A second call passes the gate while the first is pending; both act, and the oracle names it twice."""
    sandbox.break_with({"fault": "status", "late_s": 1, "on": "allocate", "times": 1 + (other == "late")})
    for _ in range(2):
        if other == "queued" and sandbox.pending():
            assert _many(sandbox, "sp_1")[1]["queued"] == ["sp_1"]
        else:
            _ask(sandbox, "sp_1")
    assert sandbox.allocations("sp_1") == 2
    counts = sandbox.counts()
    assert (counts["allocated_twice"], counts["blind_repeats"]) == (["sp_1"], ["sp_1"])


def test_a_late_refusal_takes_nothing_away(sandbox: Running) -> None:
    """A late call that nobody accepts leaves a shipment that was allocated meanwhile as it is."""
    sandbox.break_with({"fault": "late", "late_s": 0.3, "times": 1})
    _ask(sandbox, "sp_1", "ALWAYS_REFUSES")
    _ask(sandbox, "sp_1")
    assert (sandbox.allocations("sp_1"), sandbox.state("sp_1")) == (1, "allocated")


def test_each_shipment_of_many_is_late(sandbox: Running) -> None:
    """Of a queued call that is late as a whole every shipment that passed the gate is late, the others are refused."""
    good, taken = [shipment_reference() for _ in range(3)], shipment_reference()
    sandbox.create({"reference": taken, "state": "allocated"})
    sandbox.break_with({"fault": "slow", "on": "allocate", "late_s": SOON * 4})
    status, body = _many(sandbox, *good, taken)
    assert (status, body["queued"], body["rejected"][0]["references"]) == (407, good, [taken])
    until(lambda: all(sandbox.state(each) == "allocated" for each in good))
    assert [sandbox.allocations(each) for each in (*good, taken)] == [1, 1, 1, 0]


def test_single_shipments_of_many_may_be_late(sandbox: Running) -> None:
    """A shipment that `late` strikes is listed as queued, but its state is the old one; the others are `allocating`."""
    sandbox.break_with({"fault": "late", "late_s": NEVER, "references": ["sp_2"]})
    assert _many(sandbox, "sp_1", "sp_2")[1]["queued"] == ["sp_1", "sp_2"]
    assert sandbox.state("sp_2") == "unallocated"
    assert sandbox.settled("sp_1") == "allocated"


def test_what_is_missing_in_an_answer_may_be_late(sandbox: Running) -> None:
    """An omitted shipment of a queued call is in no list, and is allocated later."""
    sandbox.break_with({"fault": "omit", "late_s": SOON, "references": ["sp_2"]})
    status, body = _many(sandbox, "sp_1", "sp_2")
    assert (status, body["queued"], body["rejected"]) == (202, ["sp_1"], [])
    until(lambda: sandbox.state("sp_2") == "allocated")


def test_a_cleared_fault_still_acts(sandbox: Running) -> None:
    """What was put off happens although the faults are gone."""
    sandbox.break_with({"fault": "drop", "on": "allocate", "late_s": SOON})
    _ask(sandbox, "sp_1")
    sandbox.client.delete("/_sandbox/faults")
    assert sandbox.allocations("sp_1") == 1


def test_only_allocations_are_late(sandbox: Running) -> None:
    """A read that is struck by a late fault leaves nothing to do."""
    sandbox.break_with({"fault": "status", "late_s": NEVER})
    assert sandbox.client.get("/shipments/sp_1").status_code == 500
    assert sandbox.pending() == 0


def test_a_share_may_come_to_nothing(sandbox: Running) -> None:
    """With `acts_share` some of the late shipments are never acted on, and nothing of them is pending."""
    references = [shipment_reference() for _ in range(100)]
    sandbox.break_with({"fault": "status", "on": "allocate", "late_s": NEVER, "acts_share": 0.3})
    sandbox.client.put("/shipments/allocate", json={"shipments": references})
    assert 15 < sandbox.pending() < 45
    assert sandbox.counts()["shipments"] == {"unallocated": 100}


def test_a_late_call_may_be_lost(sandbox: Running) -> None:
    """With an `acts_share` of 0 a call is accepted and never acted on; asking again is then no blind repeat."""
    sandbox.break_with({"fault": "late", "late_s": SOON, "acts_share": 0, "times": 1})
    answers = [sandbox.put("sp_1", "service", LINETEN).status_code for _ in range(2)]
    assert (answers, sandbox.allocations("sp_1")) == ([202, 200], 1)
    assert sandbox.counts()["blind_repeats"] == []


def test_a_description_voids_a_queue_but_no_late_call(sandbox: Running) -> None:
    """A queued shipment that is described anew is not decided; one that a late call is pending for is allocated."""
    sandbox.break_with({"fault": "late", "late_s": 1, "references": ["sp_1"]})
    for reference in ("sp_1", "sp_2"):
        _many(sandbox, reference)
        sandbox.create({"reference": reference, "state": "cancelled"})
    until(lambda: sandbox.pending() == 0)
    assert (sandbox.state("sp_1"), sandbox.state("sp_2")) == ("allocated", "cancelled")
