"""Calls that the API acts on after its response, or without one."""

from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.integration.sandbox.running_sandbox import RunningSandbox, shipment_reference, until

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


def _allocate(sandbox: RunningSandbox, reference: str, service: str = LINETEN) -> httpx.Response | None:
    with suppress(httpx.TransportError):
        return sandbox.put(reference, "service", service, timeout=0.5)
    return None


def _allocate_many(sandbox: RunningSandbox, *references: str) -> Any:
    response = sandbox.client.put("/shipments/allocate", json={"shipments": references})
    return response.status_code, response.json()


@pytest.mark.parametrize("fault", BAD_ANSWERS, ids=lambda fault: f"{fault['fault']}-{fault.get('status', '')}")
def test_until_it_acts_nothing_changes(sandbox: RunningSandbox, fault: dict[str, Any]) -> None:
    """After a late call the state is the old one, and one action is pending."""
    sandbox.set_faults({**fault, "on": "allocate", "late_s": NEVER})
    _allocate(sandbox, "sp_1")
    assert (sandbox.state("sp_1"), sandbox.pending()) == ("unallocated", 1)


@pytest.mark.parametrize("fault", BAD_ANSWERS, ids=lambda fault: f"{fault['fault']}-{fault.get('status', '')}")
def test_it_acts_once(sandbox: RunningSandbox, fault: dict[str, Any]) -> None:
    """Whatever the response to the call, it allocates the shipment in the end."""
    sandbox.set_faults({**fault, "on": "allocate", "late_s": SOON})
    _allocate(sandbox, "sp_1")
    until(lambda: sandbox.state("sp_1") == "allocated")
    assert (sandbox.allocations("sp_1"), sandbox.counts()["blind_repeats"]) == (1, [])


def test_a_late_call_responds_as_queued(sandbox: RunningSandbox) -> None:
    """`late` alone is a 202 with `allocating`, while a GET has the old state."""
    sandbox.set_faults({"fault": "late", "late_s": NEVER})
    response = sandbox.put("sp_1", "virtual_service", LINETEN)
    assert (response.status_code, response.json()["state"]) == (202, "allocating")
    assert sandbox.state("sp_1") == "unallocated"


def test_the_old_state_may_be_a_failure(sandbox: RunningSandbox) -> None:
    """A shipment whose allocation failed keeps that state until the late call acts."""
    _allocate(sandbox, "sp_1", "ALWAYS_REFUSES")
    sandbox.set_faults({"fault": "status", "on": "allocate", "late_s": NEVER})
    _allocate(sandbox, "sp_1")
    assert sandbox.state("sp_1") == "allocation_failed"


def test_a_late_call_may_be_refused(sandbox: RunningSandbox) -> None:
    """A service that takes no shipment refuses it later, too; an unknown one at once."""
    sandbox.set_faults({"fault": "late", "late_s": SOON})
    assert sandbox.put("sp_1", "service", "ALWAYS_REFUSES").status_code == 202
    assert sandbox.put("sp_2", "service", "nothing").status_code == 400
    until(lambda: sandbox.state("sp_1") == "allocation_failed")
    assert (sandbox.allocations("sp_1"), sandbox.state("sp_2")) == (0, "unallocated")


def test_a_quote_may_be_used_late(sandbox: RunningSandbox) -> None:
    """The quote of a late call decides the service when it acts."""
    quote = sandbox.client.post("/shipments/sp_1/quote").json()["quotes"][-1]
    sandbox.set_faults({"fault": "drop", "on": "allocate", "late_s": SOON})
    with suppress(httpx.TransportError):
        sandbox.put("sp_1", "quote", quote["reference"])
    until(lambda: sandbox.state("sp_1") == "allocated")
    assert sandbox.client.get("/shipments/sp_1").json()["allocation"]["carrier"] == quote["carrier"]


@pytest.mark.parametrize("other", ["at once", "late", "queued"])
def test_an_early_repeat_allocates_twice(sandbox: RunningSandbox, other: str) -> None:
    """A second call is accepted while the first is pending; both act, and the oracle counts two."""
    sandbox.set_faults({"fault": "status", "late_s": 1, "on": "allocate", "times": 1 + (other == "late")})
    for _ in range(2):
        if other == "queued" and sandbox.pending():
            assert _allocate_many(sandbox, "sp_1")[1]["queued"] == ["sp_1"]
        else:
            _allocate(sandbox, "sp_1")
    assert sandbox.allocations("sp_1") == 2
    counts = sandbox.counts()
    assert (counts["allocated_twice"], counts["blind_repeats"]) == (["sp_1"], ["sp_1"])


def test_a_late_refusal_changes_nothing(sandbox: RunningSandbox) -> None:
    """A late call that is refused does not change a shipment that was allocated meanwhile."""
    sandbox.set_faults({"fault": "late", "late_s": 0.3, "times": 1})
    _allocate(sandbox, "sp_1", "ALWAYS_REFUSES")
    _allocate(sandbox, "sp_1")
    assert (sandbox.allocations("sp_1"), sandbox.state("sp_1")) == (1, "allocated")


def test_each_shipment_of_a_bulk_call_is_late(sandbox: RunningSandbox) -> None:
    """In a queued call that is late as a whole, every accepted shipment is late, the others are refused."""
    good, taken = [shipment_reference() for _ in range(3)], shipment_reference()
    sandbox.create({"reference": taken, "state": "allocated"})
    sandbox.set_faults({"fault": "slow", "on": "allocate", "late_s": SOON * 4})
    status, body = _allocate_many(sandbox, *good, taken)
    assert (status, body["queued"], body["rejected"][0]["references"]) == (407, good, [taken])
    until(lambda: all(sandbox.state(each) == "allocated" for each in good))
    assert [sandbox.allocations(each) for each in (*good, taken)] == [1, 1, 1, 0]


def test_single_shipments_of_a_bulk_call_may_be_late(sandbox: RunningSandbox) -> None:
    """A shipment that `late` strikes is listed as queued, but keeps its old state; the others are `allocating`."""
    sandbox.set_faults({"fault": "late", "late_s": NEVER, "references": ["sp_2"]})
    assert _allocate_many(sandbox, "sp_1", "sp_2")[1]["queued"] == ["sp_1", "sp_2"]
    assert sandbox.state("sp_2") == "unallocated"
    assert sandbox.settled("sp_1") == "allocated"


def test_an_omitted_shipment_may_be_late(sandbox: RunningSandbox) -> None:
    """An omitted shipment of a queued call is in no list, and is allocated later."""
    sandbox.set_faults({"fault": "omit", "late_s": SOON, "references": ["sp_2"]})
    status, body = _allocate_many(sandbox, "sp_1", "sp_2")
    assert (status, body["queued"], body["rejected"]) == (202, ["sp_1"], [])
    until(lambda: sandbox.state("sp_2") == "allocated")


def test_a_cleared_fault_still_acts(sandbox: RunningSandbox) -> None:
    """A pending action takes effect although the faults were removed."""
    sandbox.set_faults({"fault": "drop", "on": "allocate", "late_s": SOON})
    _allocate(sandbox, "sp_1")
    sandbox.client.delete("/_sandbox/faults")
    assert sandbox.allocations("sp_1") == 1


def test_only_allocations_are_late(sandbox: RunningSandbox) -> None:
    """A read that is struck by a late fault has no pending action."""
    sandbox.set_faults({"fault": "status", "late_s": NEVER})
    assert sandbox.client.get("/shipments/sp_1").status_code == 500
    assert sandbox.pending() == 0


def test_a_share_may_have_no_effect(sandbox: RunningSandbox) -> None:
    """With `acts_share` some of the late shipments are never acted on, and have no pending action."""
    references = [shipment_reference() for _ in range(100)]
    sandbox.set_faults({"fault": "status", "on": "allocate", "late_s": NEVER, "acts_share": 0.3})
    sandbox.client.put("/shipments/allocate", json={"shipments": references})
    assert 15 < sandbox.pending() < 45
    assert sandbox.counts()["shipments"] == {"unallocated": 100}


def test_a_late_call_may_be_lost(sandbox: RunningSandbox) -> None:
    """With an `acts_share` of 0 a call is accepted and never acted on; repeating it is then no blind repeat."""
    sandbox.set_faults({"fault": "late", "late_s": SOON, "acts_share": 0, "times": 1})
    responses = [sandbox.put("sp_1", "service", LINETEN).status_code for _ in range(2)]
    assert (responses, sandbox.allocations("sp_1")) == ([202, 200], 1)
    assert sandbox.counts()["blind_repeats"] == []


def test_creating_a_shipment_voids_its_queue_but_no_late_call(sandbox: RunningSandbox) -> None:
    """A queued shipment that is created again is not decided; one with a pending late call is allocated."""
    sandbox.set_faults({"fault": "late", "late_s": 1, "references": ["sp_1"]})
    for reference in ("sp_1", "sp_2"):
        _allocate_many(sandbox, reference)
        sandbox.create({"reference": reference, "state": "cancelled"})
    until(lambda: sandbox.pending() == 0)
    assert (sandbox.state("sp_1"), sandbox.state("sp_2")) == ("allocated", "cancelled")
