"""The shipments of one claim: each is worked on independently, and its end is reported."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.work.ports import Permit
from tests.factories.batch_run import KEY, BatchRun, make_shipments
from tests.factories.memory_ledger import TASK
from tests.factories.merchant_files import SERVICE, V1_API, V2_API
from tests.factories.scripted_api import Delayed
from tests.factories.shipments import (
    ALLOCATED,
    FINDINGS,
    GONE,
    GROUP,
    NOT_SENT,
    NOW,
    OUTCOMES,
    QUEUED,
    REFUSED,
    THROTTLED,
    UNALLOCATED,
    UNCERTAIN,
    UNKNOWN,
    VIRTUAL,
)
from tests.factories.shipments import SERVICE as STEP
from tests.factories.virtual_clock import run_virtual


def event_of(run: BatchRun, reference: str) -> dict[str, Any]:
    """The event that was written for a shipment."""
    event: dict[str, Any] = json.loads(run.ledger.last(reference).event)
    return event


def test_each_shipment_is_settled() -> None:
    """An allocated shipment is reported with its event, and is no longer leased."""
    run = BatchRun(shipments=make_shipments("a b"))
    batch = run_virtual(run.work())
    assert run.api.called == [("carrier_service S", ("a",)), ("carrier_service S", ("b",))]
    assert [run.ledger.verdicts(name) for name in ("a", "b")] == [["allocated"], ["allocated"]]
    assert event_of(run, "a")["id"] == "acme/a/allocated"
    assert (run.in_time, run.running, batch.owned) == ([], None, {})


def test_nothing_to_do() -> None:
    """A batch whose shipments are all owned by another task ends at once."""
    run = BatchRun(shipments=[])
    run_virtual(run.work())
    assert (run.in_time, run.running) == ([], None)


def test_each_is_reported_without_waiting_for_others() -> None:
    """No shipment waits for another one's response."""
    run = BatchRun(shipments=make_shipments("a b c"))
    for name, seconds in (("a", 0.5), ("b", 0.1), ("c", 0.3)):
        run.api.calls[name] = [Delayed(seconds=seconds, result=ALLOCATED)]
    run_virtual(run.work())
    assert [run.ledger.when(name) for name in ("a", "b", "c")] == pytest.approx([0.5, 0.1, 0.3])


def test_a_refused_step_falls_back() -> None:
    """A shipment that fell back in time is passed to `fell_back`, and stays leased for the next link."""
    run = BatchRun(shipments=make_shipments("a b", VIRTUAL, GROUP))
    run.api.calls["b"] = [REFUSED]
    batch = run_virtual(run.work())
    (fell_back,) = run.in_time
    assert (fell_back.reference, fell_back.strategy) == ("b", GROUP)
    assert run.ledger.verdicts("b") == ["hand"]
    assert run.ledger.last("b").shipment.strategy == GROUP
    assert batch.owned == {}


def test_an_unknown_call_is_read_back_and_adopted() -> None:
    """A shipment that a read-back finds allocated is settled as adopted, after the open call was recorded."""
    run = BatchRun(shipments=make_shipments("a"))
    run.api.calls["a"] = [UNKNOWN]
    run.api.read_backs["a"] = [ALLOCATED]
    run_virtual(run.work())
    (_, recorded), (_, end) = run.ledger.written
    assert (recorded.verdict, recorded.shipment.progress.open_kind) == ("keep", "unknown")
    assert run.api.times("read") == pytest.approx([0.1], abs=1e-3)
    assert (end.verdict, event_of(run, "a")["data"]["adopted"]) == ("allocated", True)
    assert event_of(run, "a")["data"]["strategy"] == {"carrier_service": "S"}
    assert len(run.api.called) == 1


def test_a_visit_of_many_requests() -> None:
    """Call, read back, call again, queued, read back until settled: each request is recorded before the next one."""
    run = BatchRun(shipments=make_shipments("a"), file=V2_API + SERVICE + "[retry]\nquiet_seconds = 1\n")
    run.api.calls["a"] = [UNKNOWN, QUEUED]
    run.api.read_backs["a"] = [*[UNALLOCATED] * 4, QUEUED, ALLOCATED]
    run_virtual(run.run_all_visits())
    entries = [report.entry for _, report in run.ledger.written]
    words = [(entry["action"], entry["outcome"]) for entry in entries if entry and entry["duration_ms"] < 5000]
    assert words == [
        ("allocate", "unknown"),
        *[("read", "unallocated")] * 4,
        *[("allocate", "queued"), ("read", "queued"), ("read", "allocated")],
    ]
    assert run.ledger.last("a").shipment.progress.entries == 8
    assert run.ledger.verdicts("a")[-1] == "allocated"


@pytest.mark.parametrize("outcome", [NOT_SENT, UNKNOWN])
def test_a_visit_is_short(outcome: Any) -> None:
    """An API that does not respond gets four requests, calls and read-backs together; then the shipment is parked."""
    run = BatchRun(shipments=make_shipments("a"))
    run.api.calls["a"], run.api.read_backs["a"] = [outcome] * 9, [outcome] * 9
    run_virtual(run.run_to_completion())
    assert len(run.api.called) + len(run.api.read) == 4
    assert run.ledger.verdicts("a") == ["keep", "keep", "keep", "park"]
    assert run.wakeups == [pytest.approx(run.ledger.last("a").due - NOW - run.ledger.when("a"), abs=1e-3)]


def test_fields_of_an_entry() -> None:
    """An entry has time, duration, action, step and outcome; fields without a value are omitted."""
    run = BatchRun(shipments=make_shipments("a"))
    run.api.calls["a"] = [REFUSED]
    run_virtual(run.work())
    entry = run.ledger.last("a").entry
    assert entry is not None
    assert entry["at"].startswith("2026-11-18T11:06:")
    assert 0 <= entry["duration_ms"] < 5000
    assert {name: value for name, value in entry.items() if name not in ("at", "duration_ms")} == {
        "action": "allocate",
        "strategy": {"carrier_service": "S"},
        "outcome": "refused",
        "reason": "allocation_failed",
        "message": "no carrier accepts it",
    }


def test_a_failure_lists_its_attempts() -> None:
    """The failed event lists all attempts, including those of earlier tasks, and no read-backs."""
    run = BatchRun(shipments=make_shipments("a", VIRTUAL, STEP, step=1, attempts=1, attempted=0, entries=1))
    earlier = {
        "action": "allocate",
        "strategy": {"virtual_service": "V"},
        "outcome": "refused",
        "reason": "no",
        "duration_ms": 5,
    }
    run.ledger.histories["a"]["entry:1"] = json.dumps(earlier)
    run.api.calls["a"] = [UNCERTAIN]
    run.api.read_backs["a"] = [UNALLOCATED]
    run_virtual(run.work())
    nothing = {"correlation_id": None}
    assert event_of(run, "a")["data"]["steps"] == [
        {"strategy": {"virtual_service": "V"}, "outcome": "refused", "reason": "no"} | nothing,
        {"strategy": {"carrier_service": "S"}, "outcome": "refused", "reason": "refused"} | nothing,
    ]
    assert run.ledger.last("a").reason == event_of(run, "a")["data"]["reason"] == "all_steps_refused"
    assert run.alerts.failures == [("a", "all_steps_refused")]


def test_results_are_counted() -> None:
    """Each shipment is counted once, as it leaves; one that another task claimed meanwhile is not counted."""
    run = BatchRun(shipments=make_shipments("a b c d e", VIRTUAL))
    run.api.calls |= {"b": [UNCERTAIN], "c": [NOT_SENT] * 9}
    run.api.read_backs["b"] = [UNALLOCATED]
    run.ledger.permits["d"] = [Permit(owned=False)]
    run_virtual(run.run_to_completion())
    assert run.left == ["allocated", "allocated", "failed", "parked"]
    refused = BatchRun(shipments=make_shipments("a", VIRTUAL, GROUP))
    refused.api.calls["a"] = [REFUSED]
    run_virtual(refused.run_to_completion())
    assert refused.left == ["fell_back"]


def test_no_call_without_a_lease() -> None:
    """A shipment that another task claimed meanwhile is released without a call or a report."""
    run = BatchRun(shipments=make_shipments("a b"))
    run.ledger.permits["a"] = [Permit(owned=False)]
    batch = run_virtual(run.work())
    assert run.api.called == [("carrier_service S", ("b",))]
    assert run.ledger.verdicts("a") == []
    assert batch.owned == {}


@pytest.mark.parametrize("outcome", [ALLOCATED, UNKNOWN, REFUSED, GONE, NOT_SENT, THROTTLED])
def test_a_task_with_an_expired_lease_changes_nothing(outcome: Any) -> None:
    """A task whose lease expired during its call writes, passes on, reports and calls nothing more."""

    async def lose() -> BatchRun:
        run = BatchRun(shipments=make_shipments("a", VIRTUAL, GROUP))
        run.api.calls["a"] = [Delayed(seconds=30, result=outcome)]
        batch = await run.work()
        run.ledger.holders["a"] = "another-task"
        assert run.running is not None
        await run.running
        assert batch.owned == {}
        return run

    run = run_virtual(lose())
    assert (run.ledger.written, run.in_time, run.late, run.alerts.failures) == ([], [], [], [])
    assert (len(run.api.called), run.api.read) == (1, [])


def test_a_plan_from_before_a_change_of_generation() -> None:
    """A step that the merchant's API no longer supports is refused without a call, and the next one is tried."""
    run = BatchRun(shipments=make_shipments("a b", VIRTUAL, GROUP), file=V1_API + SERVICE)
    run_virtual(run.work())
    assert run.api.called == []
    assert [shipment.strategy for shipment in run.in_time] == [GROUP, GROUP]
    assert run.ledger.last("a").shipment.progress.last_refusal == "strategy_unfit"


NAMES = "a b c"
SCRIPTS = st.fixed_dictionaries({name: st.lists(st.sampled_from(OUTCOMES), max_size=4) for name in NAMES.split()})
FOUND = st.fixed_dictionaries({name: st.lists(st.sampled_from(FINDINGS), max_size=6) for name in NAMES.split()})


@given(SCRIPTS, FOUND)
def test_every_shipment_leaves_with_one_verdict(calls: dict[str, Any], readings: dict[str, Any]) -> None:
    """Whatever the API responds, each shipment is settled, failed, parked or passed on, once; an end has its event."""
    run = BatchRun(shipments=make_shipments(NAMES, VIRTUAL, GROUP))
    run.api.calls |= calls
    run.api.read_backs |= readings
    run_virtual(run.run_to_completion())
    assert run.ledger.holders == {}
    for name in NAMES.split():
        *before, last = run.ledger.verdicts(name)
        assert set(before) <= {"keep"}
        assert last != "keep"
        assert bool(run.ledger.last(name).event) is (last in ("allocated", "failed"))
    handed = [name for name in NAMES.split() if run.ledger.verdicts(name)[-1] == "hand"]
    assert sorted(s.reference for s in [*run.in_time, *run.late]) == handed
    assert run.api.keys <= {KEY}
    assert all(report.lease_token == TASK for _, report in run.ledger.written)
