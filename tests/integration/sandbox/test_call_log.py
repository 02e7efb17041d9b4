"""The call log: every call as it arrived, and every late action as it took effect."""

from collections.abc import Callable
from contextlib import suppress
from time import time

import httpx
import pytest

from tests.integration.sandbox.running_sandbox import RunningSandbox
from worker.lab.sandbox.log import Log
from worker.lab.sandbox.options import Options
from worker.lab.sandbox.state import Acted

StartMessage = Callable[[Options], RunningSandbox]

LINETEN = "FF_LINET-00001"


def test_an_entry_describes_its_call(sandbox: RunningSandbox) -> None:
    """An entry has arrival, endpoint, shipments, their states at arrival, and the response with its time."""
    began = time()
    sandbox.put("sp_1", "service", LINETEN)
    (entry,) = sandbox.calls()
    assert began <= entry.pop("time") <= entry.pop("answered_at") <= time()
    assert entry == {
        "n": 0,
        "kind": "allocate",
        "method": "PUT",
        "path": f"/pro/shipments/sp_1/allocate/service/{LINETEN}",
        "references": ["sp_1"],
        "state_before": ["unallocated"],
        "status": 200,
        "fault": None,
    }


def test_every_kind_of_call_is_logged(sandbox: RunningSandbox) -> None:
    """Quotes, allocations, reads, labels and rejected calls are entries, in order; the control endpoints are not."""
    sandbox.client.post("/shipments/sp_1/quote")
    sandbox.put("sp_1", "service", LINETEN)
    sandbox.client.get("/shipments/sp_1")
    sandbox.client.get("/labels/sp_1/pdf")
    sandbox.client.get("/shipments/sp_1", headers={"x-api-key": "another"})
    sandbox.client.put("/shipments/allocate", json={})
    sandbox.counts()
    entries = [(each["n"], each["kind"], each["status"]) for each in sandbox.calls()]
    assert entries == [
        (0, "quote", 201),
        (1, "allocate", 200),
        (2, "read", 200),
        (3, "label", 200),
        (4, "other", 401),
        (5, "other", 400),
    ]


@pytest.mark.parametrize("fault", ["drop", "hang", "cut"])
def test_a_call_without_a_response_has_no_status(sandbox: RunningSandbox, fault: str) -> None:
    """Without a response, the entry has neither its status nor its time."""
    sandbox.set_faults({"fault": fault})
    with suppress(httpx.TransportError):
        sandbox.put("sp_1", "service", LINETEN, timeout=0.1)
    (entry,) = sandbox.calls()
    assert (entry["fault"], entry["status"], entry["answered_at"]) == (fault, None, None)


def test_a_bulk_call_is_one_entry(sandbox: RunningSandbox) -> None:
    """It has every shipment with its state, null for none, and the ones that met the fault."""
    sandbox.create({"reference": "sp_1", "state": "dispatched"})
    sandbox.set_faults({"fault": "late", "late_s": 600, "references": ["sp_2"]})
    sandbox.client.put("/shipments/allocate", json={"shipments": ["sp_1", "sp_2", "not a reference"]})
    (entry,) = sandbox.calls()
    assert entry["references"] == ["sp_1", "sp_2", "not a reference"]
    assert entry["state_before"] == ["dispatched", "unallocated", None]
    assert (entry["fault"], entry["struck"]) == ("late", {"sp_2": "late"})


def test_late_actions_are_logged_when_they_take_effect(sandbox: RunningSandbox) -> None:
    """An entry `late_actions` is between the calls before and after it, at the time when the action was due."""
    sandbox.set_faults({"fault": "status", "on": "allocate", "late_s": 0.2})
    sandbox.put("sp_1", "service", LINETEN)
    assert sandbox.allocations("sp_1") == 1
    sandbox.state("sp_1")
    call, late_actions, read = sandbox.calls()
    assert 0.2 <= late_actions.pop("time") - call["time"] < 2
    assert late_actions == {
        "n": 1,
        "kind": "acted",
        "reference": "sp_1",
        "state_before": "unallocated",
        "state": "allocated",
    }
    assert read["state_before"] == ["allocated"]


def test_a_lagging_queue_is_logged_too(sandbox: RunningSandbox) -> None:
    """A decision of a lagging queue is an entry `late_actions`, one of the ordinary queue is not."""
    sandbox.set_faults({"fault": "queued", "lag_s": 0.05, "references": ["sp_1"]})
    sandbox.client.put("/shipments/allocate", json={"shipments": ["sp_1", "sp_2"]})
    assert [sandbox.allocations(each) for each in ("sp_1", "sp_2")] == [1, 1]
    assert [each["reference"] for each in sandbox.late_actions()] == ["sp_1"]


def test_the_log_has_pages(sandbox: RunningSandbox) -> None:
    """`since` and `limit` select entries, whose numbers stay; invalid values are refused."""
    for _ in range(5):
        sandbox.state("sp_1")
    assert [each["n"] for each in sandbox.calls(since="3")] == [3, 4]
    assert [each["n"] for each in sandbox.calls(since="1", limit="2")] == [1, 2]
    assert sandbox.calls(since="5") == []
    for query in ({"since": "-1"}, {"since": "x"}, {"from": "1"}):
        assert sandbox.client.get("/_sandbox/calls", params=query).status_code == 400


def test_the_log_of_a_merchant(start: StartMessage) -> None:
    """With `key` only the entries of that key are returned, with their global numbers."""
    sandbox = start(Options(keys=("one", "two")))
    for key in ("one", "two", "one"):
        sandbox.client.get("/shipments/sp_1", headers={"x-api-key": key})
    assert [each["n"] for each in sandbox.calls(key="one")] == [0, 2]


def test_the_log_is_bounded() -> None:
    """The oldest entries are removed, and the others keep their numbers."""
    log = Log(most=3)
    for number in range(5):
        log.add(Acted(at=number, key="", reference="sp_1", before="unallocated", after="allocated"))
    assert [(number, entry.at) for number, entry in log.since(0)] == [(2, 2), (3, 3), (4, 4)]
    assert [number for number, _ in log.since(4)] == [4]
    assert list(log.since(9)) == []
