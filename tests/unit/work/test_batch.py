"""The shipments of one claim: each is worked on independently, and its end is reported."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.work.ports import Permit
from tests.factories.batch_run import KEY, Trial, several
from tests.factories.memory_ledger import TASK
from tests.factories.merchant_files import SERVICE, V1_API, V2_API
from tests.factories.scripted_api import After
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
    UNKNOWN,
    UNSURE,
    VIRTUAL,
)
from tests.factories.shipments import SERVICE as STEP
from tests.factories.virtual_clock import play


def event_of(trial: Trial, reference: str) -> dict[str, Any]:
    """The event that was written for a shipment."""
    event: dict[str, Any] = json.loads(trial.ledger.last(reference).event)
    return event


def test_each_shipment_is_settled() -> None:
    """An allocated shipment is reported with its event, and is no longer leased."""
    trial = Trial(shipments=several("a b"))
    batch = play(trial.work())
    assert trial.api.called == [("carrier_service S", ("a",)), ("carrier_service S", ("b",))]
    assert [trial.ledger.verdicts(name) for name in ("a", "b")] == [["allocated"], ["allocated"]]
    assert event_of(trial, "a")["id"] == "acme/a/allocated"
    assert (trial.in_time, trial.running, batch.owned) == ([], None, {})


def test_nothing_to_do() -> None:
    """A batch whose shipments are all owned by another task ends at once."""
    trial = Trial(shipments=[])
    play(trial.work())
    assert (trial.in_time, trial.running) == ([], None)


def test_each_is_reported_without_waiting_for_others() -> None:
    """No shipment waits for another one's response."""
    trial = Trial(shipments=several("a b c"))
    for name, seconds in (("a", 0.5), ("b", 0.1), ("c", 0.3)):
        trial.api.calls[name] = [After(seconds=seconds, answer=ALLOCATED)]
    play(trial.work())
    assert [trial.ledger.when(name) for name in ("a", "b", "c")] == pytest.approx([0.5, 0.1, 0.3])


def test_a_refused_step_falls_back() -> None:
    """A shipment that fell back in time is passed to `fell_back`, and stays leased for the next link."""
    trial = Trial(shipments=several("a b", VIRTUAL, GROUP))
    trial.api.calls["b"] = [REFUSED]
    batch = play(trial.work())
    (fell_back,) = trial.in_time
    assert (fell_back.reference, fell_back.strategy) == ("b", GROUP)
    assert trial.ledger.verdicts("b") == ["hand"]
    assert trial.ledger.last("b").shipment.strategy == GROUP
    assert batch.owned == {}


def test_an_unknown_call_is_read_back_and_adopted() -> None:
    """A shipment that a read-back finds allocated is settled as adopted, after the open call was recorded."""
    trial = Trial(shipments=several("a"))
    trial.api.calls["a"] = [UNKNOWN]
    trial.api.readings["a"] = [ALLOCATED]
    play(trial.work())
    (_, recorded), (_, end) = trial.ledger.written
    assert (recorded.verdict, recorded.shipment.progress.open_kind) == ("keep", "unknown")
    assert trial.api.times("read") == pytest.approx([0.1], abs=1e-3)
    assert (end.verdict, event_of(trial, "a")["data"]["adopted"]) == ("allocated", True)
    assert event_of(trial, "a")["data"]["strategy"] == {"carrier_service": "S"}
    assert len(trial.api.called) == 1


def test_a_visit_of_many_requests() -> None:
    """Call, read back, call again, queued, read back until settled: each request is recorded before the next one."""
    trial = Trial(shipments=several("a"), file=V2_API + SERVICE + "[retry]\nquiet_seconds = 1\n")
    trial.api.calls["a"] = [UNKNOWN, QUEUED]
    trial.api.readings["a"] = [*[UNALLOCATED] * 4, QUEUED, ALLOCATED]
    play(trial.visit_by_visit())
    entries = [report.entry for _, report in trial.ledger.written]
    words = [(entry["action"], entry["outcome"]) for entry in entries if entry and entry["duration_ms"] < 5000]
    assert words == [
        ("allocate", "unknown"),
        *[("read", "unallocated")] * 4,
        *[("allocate", "queued"), ("read", "queued"), ("read", "allocated")],
    ]
    assert trial.ledger.last("a").shipment.progress.entries == 8
    assert trial.ledger.verdicts("a")[-1] == "allocated"


@pytest.mark.parametrize("answer", [NOT_SENT, UNKNOWN])
def test_a_visit_is_short(answer: Any) -> None:
    """An API that does not respond gets four requests, calls and read-backs together; then the shipment is parked."""
    trial = Trial(shipments=several("a"))
    trial.api.calls["a"], trial.api.readings["a"] = [answer] * 9, [answer] * 9
    play(trial.to_the_end())
    assert len(trial.api.called) + len(trial.api.read) == 4
    assert trial.ledger.verdicts("a") == ["keep", "keep", "keep", "park"]
    assert trial.alarms == [pytest.approx(trial.ledger.last("a").due - NOW - trial.ledger.when("a"), abs=1e-3)]


def test_fields_of_an_entry() -> None:
    """An entry has time, duration, action, step and outcome; fields without a value are omitted."""
    trial = Trial(shipments=several("a"))
    trial.api.calls["a"] = [REFUSED]
    play(trial.work())
    entry = trial.ledger.last("a").entry
    assert entry is not None
    assert entry["at"].startswith("2026-11-18T11:06:")
    assert 0 <= entry["duration_ms"] < 5000
    assert {name: said for name, said in entry.items() if name not in ("at", "duration_ms")} == {
        "action": "allocate",
        "strategy": {"carrier_service": "S"},
        "outcome": "refused",
        "reason": "allocation_failed",
        "message": "nobody would",
    }


def test_a_failure_lists_its_attempts() -> None:
    """The failed event lists all attempts, including those of earlier tasks, and no read-backs."""
    trial = Trial(shipments=several("a", VIRTUAL, STEP, step=1, attempts=1, attempted=0, entries=1))
    earlier = {
        "action": "allocate",
        "strategy": {"virtual_service": "V"},
        "outcome": "refused",
        "reason": "no",
        "duration_ms": 5,
    }
    trial.ledger.stories["a"]["entry:1"] = json.dumps(earlier)
    trial.api.calls["a"] = [UNSURE]
    trial.api.readings["a"] = [UNALLOCATED]
    play(trial.work())
    nothing = {"correlation_id": None}
    assert event_of(trial, "a")["data"]["steps"] == [
        {"strategy": {"virtual_service": "V"}, "outcome": "refused", "reason": "no"} | nothing,
        {"strategy": {"carrier_service": "S"}, "outcome": "refused", "reason": "refused"} | nothing,
    ]
    assert trial.ledger.last("a").reason == event_of(trial, "a")["data"]["reason"] == "all_steps_refused"
    assert trial.told.failures == [("a", "all_steps_refused")]


def test_how_each_left_is_counted() -> None:
    """Each shipment is counted once, as it leaves; one that another task claimed meanwhile is not counted."""
    trial = Trial(shipments=several("a b c d e", VIRTUAL))
    trial.api.calls |= {"b": [UNSURE], "c": [NOT_SENT] * 9}
    trial.api.readings["b"] = [UNALLOCATED]
    trial.ledger.permits["d"] = [Permit(owned=False)]
    play(trial.to_the_end())
    assert trial.left == ["allocated", "allocated", "failed", "parked"]
    refused = Trial(shipments=several("a", VIRTUAL, GROUP))
    refused.api.calls["a"] = [REFUSED]
    play(refused.to_the_end())
    assert refused.left == ["fell_back"]


def test_no_call_without_a_lease() -> None:
    """A shipment that another task claimed meanwhile is released without a call or a report."""
    trial = Trial(shipments=several("a b"))
    trial.ledger.permits["a"] = [Permit(owned=False)]
    batch = play(trial.work())
    assert trial.api.called == [("carrier_service S", ("b",))]
    assert trial.ledger.verdicts("a") == []
    assert batch.owned == {}


@pytest.mark.parametrize("answer", [ALLOCATED, UNKNOWN, REFUSED, GONE, NOT_SENT, THROTTLED])
def test_a_task_with_an_expired_lease_changes_nothing(answer: Any) -> None:
    """A task whose lease expired during its call writes, passes on, reports and calls nothing more."""

    async def lose() -> Trial:
        trial = Trial(shipments=several("a", VIRTUAL, GROUP))
        trial.api.calls["a"] = [After(seconds=30, answer=answer)]
        batch = await trial.work()
        trial.ledger.holders["a"] = "another-task"
        assert trial.running is not None
        await trial.running
        assert batch.owned == {}
        return trial

    trial = play(lose())
    assert (trial.ledger.written, trial.in_time, trial.late, trial.told.failures) == ([], [], [], [])
    assert (len(trial.api.called), trial.api.read) == (1, [])


def test_a_plan_from_before_a_change_of_generation() -> None:
    """A step that the merchant's API no longer supports is refused without a call, and the next one is tried."""
    trial = Trial(shipments=several("a b", VIRTUAL, GROUP), file=V1_API + SERVICE)
    play(trial.work())
    assert trial.api.called == []
    assert [shipment.strategy for shipment in trial.in_time] == [GROUP, GROUP]
    assert trial.ledger.last("a").shipment.progress.last_refusal == "strategy_unfit"


NAMES = "a b c"
SCRIPTS = st.fixed_dictionaries({name: st.lists(st.sampled_from(OUTCOMES), max_size=4) for name in NAMES.split()})
FOUND = st.fixed_dictionaries({name: st.lists(st.sampled_from(FINDINGS), max_size=6) for name in NAMES.split()})


@given(SCRIPTS, FOUND)
def test_every_shipment_leaves_with_one_verdict(calls: dict[str, Any], readings: dict[str, Any]) -> None:
    """Whatever the API responds, each shipment is settled, failed, parked or passed on, once; an end has its event."""
    trial = Trial(shipments=several(NAMES, VIRTUAL, GROUP))
    trial.api.calls |= calls
    trial.api.readings |= readings
    play(trial.to_the_end())
    assert trial.ledger.holders == {}
    for name in NAMES.split():
        *before, last = trial.ledger.verdicts(name)
        assert set(before) <= {"keep"}
        assert last != "keep"
        assert bool(trial.ledger.last(name).event) is (last in ("allocated", "failed"))
    handed = [name for name in NAMES.split() if trial.ledger.verdicts(name)[-1] == "hand"]
    assert sorted(s.reference for s in [*trial.in_time, *trial.late]) == handed
    assert trial.api.keys <= {KEY}
    assert all(report.lease_token == TASK for _, report in trial.ledger.written)
