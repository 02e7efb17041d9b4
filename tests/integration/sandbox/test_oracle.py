"""The oracle: the sandbox's counts of its own actions."""

from collections.abc import Callable

from tests.integration.sandbox.running_sandbox import RunningSandbox
from worker.lab.sandbox.options import Options

StartMessage = Callable[[Options], RunningSandbox]

LINETEN = "FF_LINET-00001"


def test_a_good_run_lists_no_shipment(sandbox: RunningSandbox) -> None:
    """When every shipment is allocated once, no shipment is listed."""
    for reference in ("sp_1", "sp_2"):
        sandbox.put(reference, "service", LINETEN)
        sandbox.state(reference)
    assert sandbox.counts() == {
        "allocated": 2,
        "allocations": {},
        "allocated_twice": [],
        "blind_repeats": [],
        "pending_late": 0,
        "puts": 2,
        "reads": 2,
        "shipments": {"allocated": 2},
    }


def test_shipments_without_an_allocation_are_listed(sandbox: RunningSandbox) -> None:
    """A known shipment without an allocation is listed with 0."""
    sandbox.put("sp_1", "service", "ALWAYS_REFUSES")
    counts = sandbox.counts()
    assert (counts["allocated"], counts["allocations"]) == (0, {"sp_1": 0})
    assert counts["shipments"] == {"allocation_failed": 1}


def test_a_second_allocation_is_listed(sandbox: RunningSandbox) -> None:
    """A shipment that was allocated, reopened and allocated again is listed as allocated twice."""
    sandbox.put("sp_1", "service", LINETEN)
    sandbox.create({"reference": "sp_1", "state": "unallocated"})
    sandbox.put("sp_1", "service", LINETEN)
    counts = sandbox.counts()
    assert (counts["allocated_twice"], counts["allocations"]) == (["sp_1"], {"sp_1": 2})


def test_every_put_counts(sandbox: RunningSandbox) -> None:
    """A PUT counts when it arrives, also if it is rejected or struck by a fault."""
    sandbox.set_faults({"fault": "status", "references": ["sp_1"]})
    sandbox.put("sp_1", "service", LINETEN)
    sandbox.put("sp_2", "service", LINETEN, headers={"x-api-key": "another"})
    assert sandbox.counts()["puts"] == 2


def test_each_blind_repeat_is_counted(sandbox: RunningSandbox) -> None:
    """A call for a shipment that is allocated or allocating is a blind repeat, struck by a fault or not."""
    sandbox.set_faults(
        {"fault": "status", "acts": True, "references": ["sp_1"], "times": 1},
        {"fault": "stuck", "references": ["sp_2"]},
        {"fault": "unauthorised", "references": ["sp_2"], "times": 1},
    )
    for reference in ("sp_1", "sp_1", "sp_2", "sp_2", "sp_2", "sp_3"):
        sandbox.put(reference, "service", LINETEN)
    assert sandbox.counts()["blind_repeats"] == ["sp_1", "sp_2"]


def test_blind_repeats_within_bulk_calls(sandbox: RunningSandbox) -> None:
    """In a bulk call each shipment that is allocated or allocating counts, and the others do not."""
    sandbox.put("sp_1", "service", LINETEN)
    sandbox.client.put("/shipments/allocate", json={"shipments": ["sp_1", "sp_2"]})
    sandbox.v1.put("/allocation/allocate", json={"ConsignmentReferences": ["sp_1", "sp_3"]})
    assert sandbox.counts()["blind_repeats"] == ["sp_1", "sp_1"]


def test_a_refused_shipment_may_be_called_for_again(sandbox: RunningSandbox) -> None:
    """A call after a refusal is no blind repeat."""
    sandbox.put("sp_1", "service", "ALWAYS_REFUSES")
    sandbox.put("sp_1", "service", LINETEN)
    assert sandbox.counts()["blind_repeats"] == []


def test_merchants_have_their_own_shipments(start: StartMessage) -> None:
    """The same reference with two keys is two shipments, each with its own counts."""
    sandbox = start(Options(keys=("one", "two")))
    for key in ("one", "two"):
        assert sandbox.put("sp_1", "service", LINETEN, headers={"x-api-key": key}).status_code == 200
    sandbox.put("sp_1", "service", LINETEN, headers={"x-api-key": "two"})
    assert sandbox.counts()["allocated"] == 2
    assert sandbox.counts(key="one")["blind_repeats"] == []
    assert sandbox.counts(key="two")["blind_repeats"] == ["sp_1"]
    assert len(sandbox.history("sp_1")["calls"]) == 1
    assert len(sandbox.history("sp_1", key="two")["calls"]) == 2


def test_a_history_contains_each_call(sandbox: RunningSandbox) -> None:
    """A shipment's history has time, method, path, status and fault of each call, in order."""
    sandbox.set_faults({"fault": "status", "status": 503, "times": 1})
    sandbox.put("sp_1", "service", LINETEN)
    sandbox.put("sp_1", "service", LINETEN)
    sandbox.client.get("/pro/shipments/sp_1")
    history = sandbox.history("sp_1")
    entries = [(each["method"], each["path"], each["status"], each["fault"]) for each in history["calls"]]
    assert entries == [
        ("PUT", f"/pro/shipments/sp_1/allocate/service/{LINETEN}", 503, "status"),
        ("PUT", f"/pro/shipments/sp_1/allocate/service/{LINETEN}", 200, None),
        ("GET", "/pro/shipments/sp_1", 200, None),
    ]
    assert history["calls"][0]["time"] <= history["calls"][2]["time"]
    assert (history["state"], history["allocations"], history["blind_repeats"]) == ("allocated", 1, 0)


def test_a_history_is_bounded(sandbox: RunningSandbox) -> None:
    """Of many calls the last 50 are kept."""
    for _ in range(60):
        sandbox.client.get("/shipments/sp_1")
    assert len(sandbox.history("sp_1")["calls"]) == 50
    assert sandbox.counts()["reads"] == 60


def test_created_shipments_have_their_state(sandbox: RunningSandbox) -> None:
    """A shipment can be created in a later state: it then has a carrier, which counts as no allocation."""
    sandbox.create({"reference": "sp_1", "state": "dispatched"}, {"reference": "sp_2", "state": "cancelled"})
    assert sandbox.client.get("/shipments/sp_1").json()["allocation"]["carrier"]["service_reference"] == LINETEN
    assert "allocation" not in sandbox.client.get("/shipments/sp_2").json()
    assert sandbox.put("sp_1", "service", LINETEN).status_code == 400
    assert sandbox.counts()["allocated"] == 0


def test_control_endpoints_refuse_invalid_requests(sandbox: RunningSandbox) -> None:
    """An invalid shipment, an unknown one, and any other path are refused."""
    assert sandbox.client.post("/_sandbox/shipments", json=[{"reference": "a b"}]).status_code == 400
    assert sandbox.client.get("/_sandbox/shipments/sp_9").status_code == 404
    assert sandbox.client.get("/_sandbox/other").status_code == 404
    assert sandbox.client.get("/_sandbox/health").status_code == 200
