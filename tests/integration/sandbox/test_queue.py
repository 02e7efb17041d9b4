"""How long a queued shipment is in the queue, and when it shows."""

from tests.integration.sandbox.running_sandbox import Running, until

LINETEN = "FF_LINET-00001"


def _queue(sandbox: Running, *references: str) -> None:
    assert sandbox.client.put("/shipments/allocate", json={"shipments": references}).status_code == 202


def test_each_shipment_may_have_its_own_queue(sandbox: Running) -> None:
    """A shipment with a longer `queue_s` is still `allocating` when one that was queued after it is done."""
    sandbox.break_with({"fault": "queued", "queue_s": 600, "references": ["sp_1"]})
    _queue(sandbox, "sp_1", "sp_2")
    assert sandbox.settled("sp_2") == "allocated"
    assert sandbox.state("sp_1") == "allocating"


def test_a_queue_may_take_no_time(sandbox: Running) -> None:
    """With a `queue_s` of 0 the shipment is decided when it is asked for next."""
    sandbox.break_with({"fault": "queued", "queue_s": 0})
    assert sandbox.put("sp_1", "service", LINETEN).status_code == 202
    assert sandbox.state("sp_1") == "allocated"


def test_a_queue_may_lag(sandbox: Running) -> None:
    """A shipment in a queue that lags has its old state first, then it is `allocating`, then it is decided."""
    sandbox.break_with({"fault": "queued", "lag_s": 0.6, "queue_s": 0.6})
    _queue(sandbox, "sp_1")
    accepted = sandbox.calls()[0]["time"]
    until(lambda: sandbox.state("sp_1") == "allocated")
    seen = [each["state_before"][0] for each in sandbox.calls() if each["kind"] == "read"]
    (acted,) = sandbox.acted()
    assert list(dict.fromkeys(seen)) == ["unallocated", "allocating", "allocated"]
    assert acted["time"] - accepted >= 1.2
    assert (sandbox.allocations("sp_1"), sandbox.pending()) == (1, 0)


def test_a_lag_lets_a_second_call_in(sandbox: Running) -> None:
    """While the queue lags the gate is open: a second call is a blind repeat and allocates once more."""
    sandbox.break_with({"fault": "queued", "lag_s": 1, "times": 1})
    for _ in range(2):
        sandbox.put("sp_1", "service", LINETEN)
    assert sandbox.allocations("sp_1") == 2
    assert sandbox.counts()["blind_repeats"] == ["sp_1"]


def test_consignments_are_queued_with_a_lag(sandbox: Running) -> None:
    """v1 has the same queue: its entry is a 202, its status the old one while it lags."""
    sandbox.break_with({"fault": "queued", "lag_s": 600})
    (entry,) = sandbox.v1.put("/allocation/allocate", json={"ConsignmentReferences": ["EC-1"]}).json()
    assert entry["StatusCode"] == 202
    assert sandbox.v1.get("/consignments/EC-1/status").json()["Status"] == "Unallocated"
