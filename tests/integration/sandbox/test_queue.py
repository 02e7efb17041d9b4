"""The time of a shipment in the queue, and its visible states."""

from tests.integration.sandbox.running_sandbox import RunningSandbox, until

LINETEN = "FF_LINET-00001"


def _queue(sandbox: RunningSandbox, *references: str) -> None:
    assert sandbox.client.put("/shipments/allocate", json={"shipments": references}).status_code == 202


def test_each_shipment_may_have_its_own_queue_time(sandbox: RunningSandbox) -> None:
    """A shipment with a longer `queue_s` is still `allocating` when one that was queued after it is decided."""
    sandbox.set_faults({"fault": "queued", "queue_s": 600, "references": ["sp_1"]})
    _queue(sandbox, "sp_1", "sp_2")
    assert sandbox.settled("sp_2") == "allocated"
    assert sandbox.state("sp_1") == "allocating"


def test_a_queue_may_take_no_time(sandbox: RunningSandbox) -> None:
    """With a `queue_s` of 0 the shipment is decided at the next request."""
    sandbox.set_faults({"fault": "queued", "queue_s": 0})
    assert sandbox.put("sp_1", "service", LINETEN).status_code == 202
    assert sandbox.state("sp_1") == "allocated"


def test_a_queue_may_lag(sandbox: RunningSandbox) -> None:
    """A shipment in a lagging queue has its old state first, then it is `allocating`, then it is decided."""
    sandbox.set_faults({"fault": "queued", "lag_s": 0.6, "queue_s": 0.6})
    _queue(sandbox, "sp_1")
    accepted = sandbox.calls()[0]["time"]
    until(lambda: sandbox.state("sp_1") == "allocated")
    seen = [each["state_before"][0] for each in sandbox.calls() if each["kind"] == "read"]
    (late_actions,) = sandbox.late_actions()
    assert list(dict.fromkeys(seen)) == ["unallocated", "allocating", "allocated"]
    assert late_actions["time"] - accepted >= 1.2
    assert (sandbox.allocations("sp_1"), sandbox.pending()) == (1, 0)


def test_a_lag_accepts_a_second_call(sandbox: RunningSandbox) -> None:
    """While the queue lags a second call is accepted: a blind repeat that allocates once more."""
    sandbox.set_faults({"fault": "queued", "lag_s": 1, "times": 1})
    for _ in range(2):
        sandbox.put("sp_1", "service", LINETEN)
    assert sandbox.allocations("sp_1") == 2
    assert sandbox.counts()["blind_repeats"] == ["sp_1"]


def test_consignments_are_queued_with_a_lag(sandbox: RunningSandbox) -> None:
    """v1 has the same queue: its entry is a 202 with the old status while it lags."""
    sandbox.set_faults({"fault": "queued", "lag_s": 600})
    (entry,) = sandbox.v1.put("/allocation/allocate", json={"ConsignmentReferences": ["EC-1"]}).json()
    assert entry["StatusCode"] == 202
    assert sandbox.v1.get("/consignments/EC-1/status").json()["Status"] == "Unallocated"
