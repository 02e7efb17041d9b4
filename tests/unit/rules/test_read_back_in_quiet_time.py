"""Decisions after a read-back within the quiet time: only "allocated" and the failure of a queued call count."""

from typing import Any

import pytest

from tasks.rules.after_read_back import STUCK_AFTER_S, after_read_back
from tasks.rules.backoff import SHORT_TRIES
from tasks.rules.decision import Call, Fail, FallBack, Park, ReadBack, Settle
from tasks.rules.outcome import Finding, Throttled
from tasks.rules.quiet_time import MAX_APART_S
from tasks.rules.shipment import Shipment
from tests.factories.shipments import (
    ALLOCATED,
    ALLOCATION_FAILED,
    FINDINGS,
    GONE,
    GROUP,
    HOUR_S,
    NOT_FOUND,
    NOW,
    QUEUE_S,
    QUEUED,
    QUIET_S,
    UNALLOCATED,
    VIRTUAL,
    WRONG_STATE,
    context,
    open_call,
    shipment,
)


def in_quiet(kind: str = "unknown", ago_s: float = 10.0, *, age_s: float = 1000.0, **progress: Any) -> Shipment:
    """A shipment in the quiet time of a call that ended so long ago, read back now."""
    return shipment(VIRTUAL, GROUP, age_s=age_s, **open_call(kind, ago_s, **{"read_at": NOW, **progress}))


def test_an_allocated_shipment_is_adopted_at_once() -> None:
    """The rest of the quiet time is skipped."""
    assert isinstance(after_read_back(in_quiet(), ALLOCATED, context()), Settle)


@pytest.mark.parametrize("finding", [finding for finding in FINDINGS if finding is not ALLOCATED])
@pytest.mark.parametrize("kind", ["unknown", "queued"])
@pytest.mark.parametrize("age_s", [10.0, 49 * HOUR_S])
def test_other_findings_do_not_count(finding: Finding, kind: str, age_s: float) -> None:
    """Unallocated does not count yet, and neither 404, 410, a wrong state, 400 nor the deadline ends it early."""
    for tries in (1, SHORT_TRIES):
        decision = after_read_back(in_quiet(kind, age_s=age_s, open_calls=99), finding, context(tries=tries))
        assert isinstance(decision, ReadBack | Park)
        assert decision.shipment.progress.open_kind == kind


@pytest.mark.parametrize("reason", ["refused", "invalid_request", "conflict"])
def test_a_refusal_does_not_count_yet(reason: str) -> None:
    """A refusal that follows an open call counts only after the quiet time."""
    decision = after_read_back(in_quiet(refusal=reason), UNALLOCATED, context())
    assert isinstance(decision, Park)
    assert decision.shipment.progress.refusal == reason


def test_the_next_read_back_is_scheduled() -> None:
    """A wait of more than a second is spent in the schedule; the finding and its time are recorded."""
    decision = after_read_back(in_quiet(), UNALLOCATED, context())
    assert isinstance(decision, Park)
    assert 5 < decision.wait_s < 15
    assert decision.shipment.progress.last_read == "unallocated"
    soon = after_read_back(in_quiet(ago_s=0.1), UNALLOCATED, context())
    assert isinstance(soon, ReadBack)
    assert 0 < soon.pause_s < 1
    assert isinstance(after_read_back(in_quiet(ago_s=0.1), UNALLOCATED, context(tries=SHORT_TRIES)), Park)


def test_a_throttled_read_back_is_not_due_earlier() -> None:
    """A throttled read-back waits for the schedule, or for `Retry-After` if that is longer."""
    wait = after_read_back(in_quiet(), UNALLOCATED, context())
    throttled = after_read_back(in_quiet(), Throttled(reason="throttled"), context(random=0.0))
    assert isinstance(wait, Park)
    assert isinstance(throttled, Park)
    assert throttled.wait_s == wait.wait_s
    throttled = after_read_back(in_quiet(), Throttled(reason="throttled", retry_after_s=30), context())
    assert isinstance(throttled, Park)
    assert throttled.wait_s == 30


def test_a_read_back_sent_before_the_end_does_not_count() -> None:
    """Its response may arrive after the quiet time: another one is sent within a moment."""
    before = in_quiet(ago_s=QUIET_S + 5, read_at=NOW - 6)
    decision = after_read_back(before, UNALLOCATED, context(sent=NOW - 6, tries=SHORT_TRIES))
    assert decision == ReadBack(shipment=before.with_progress(last_read="unallocated"), pause_s=0.1)
    hardly = after_read_back(before, UNALLOCATED, context(sent=NOW - 5.0625))
    assert hardly == ReadBack(shipment=hardly.shipment, pause_s=0.0625)
    assert isinstance(after_read_back(before, UNALLOCATED, context(sent=NOW - 5)), Call)


@pytest.mark.parametrize("finding", [GONE, WRONG_STATE, NOT_FOUND])
def test_other_final_findings_need_confirmation(finding: Finding) -> None:
    """A finding that no step can help counts when a read-back after the quiet time repeats it."""
    before = in_quiet(ago_s=QUIET_S + 5)
    again = after_read_back(before, finding, context(sent=NOW - 6))
    assert isinstance(again, ReadBack)
    assert isinstance(after_read_back(before, finding, context()), Fail)


def test_allocating_restarts_it() -> None:
    """The quiet time restarts, and the time of the first `allocating` is recorded."""
    decision = after_read_back(in_quiet(), QUEUED, context())
    progress = decision.shipment.progress
    assert isinstance(decision, Park)
    assert (progress.open_kind, progress.open_at, progress.quiet_from) == ("unknown", NOW - 10, NOW)
    assert (progress.last_read, progress.allocating_since) == ("allocating", NOW)
    again = after_read_back(in_quiet(allocating_since=NOW - 8), QUEUED, context()).shipment.progress
    assert again.allocating_since == NOW - 8


def test_allocating_without_a_call() -> None:
    """Another client may have requested it, or the record was lost: it is waited for like an open call."""
    before = shipment(unread=True, read_at=NOW, age_s=60)
    progress = after_read_back(before, QUEUED, context()).shipment.progress
    assert (progress.open_kind, progress.open_at, progress.open_calls) == ("unknown", NOW, 0)
    assert (progress.last_read, progress.allocating_since) == ("allocating", NOW)


def test_allocating_is_bounded() -> None:
    """After half an hour, or a quarter of a shorter deadline, one more quiet time runs.

    The shipment fails if a read-back after that still finds `allocating`. A finding of `unallocated` meanwhile counts
    only a quiet time after the last `allocating`.
    """
    for seconds, hours in [(STUCK_AFTER_S, 48), (900, 1)]:
        at_it = in_quiet("queued", seconds, quiet_from=NOW - 60, age_s=seconds)
        assert after_read_back(at_it, QUEUED, context(deadline_hours=hours)).shipment.progress.quiet_from == NOW
        late = in_quiet("queued", seconds + 1, quiet_from=NOW - 60, age_s=seconds)
        waits = after_read_back(late, QUEUED, context(deadline_hours=hours))
        assert isinstance(waits, Park)
        assert (waits.shipment.progress.quiet_from, waits.shipment.progress.give_up_at) == (NOW, NOW + QUEUE_S)
        still = after_read_back(waits.shipment, QUEUED, context(now=NOW + 60, sent=NOW + 60, deadline_hours=hours))
        assert still.shipment.progress.give_up_at == NOW + QUEUE_S
        again = after_read_back(waits.shipment, UNALLOCATED, context(now=NOW + 5, sent=NOW + 5, deadline_hours=hours))
        assert isinstance(again, Park | ReadBack)
        over = in_quiet("queued", seconds + 1, quiet_from=NOW - 60, age_s=seconds, give_up_at=NOW - 1)
        decision = after_read_back(over, QUEUED, context(deadline_hours=hours))
        assert isinstance(decision, Fail)
        message = f"the API has been allocating it for {seconds + 1:.0f} s"
        assert (decision.reason, decision.message) == ("stuck_allocating", message)


def test_allocating_at_the_deadline() -> None:
    """The same holds for the deadline: after one more quiet time the shipment fails with the last finding."""
    late = in_quiet(age_s=48 * HOUR_S)
    decision = after_read_back(late, QUEUED, context())
    assert isinstance(decision, Park)
    assert decision.shipment.progress.give_up_at == NOW + QUIET_S
    over = after_read_back(in_quiet(age_s=48 * HOUR_S, give_up_at=NOW - 1), QUEUED, context())
    assert isinstance(over, Fail)
    assert (over.reason, over.message) == ("deadline_passed", "not allocated in time; the API was still allocating it")


@pytest.mark.parametrize("seen", [{"quiet_from": NOW - 5}, {"read_before": "unallocated"}])
@pytest.mark.parametrize("ago_s", [10.0, QUEUE_S + 100])
def test_a_failed_queued_call_is_refused(seen: dict[str, Any], ago_s: float) -> None:
    """A queued shipment that the API could not allocate falls back at once, and no call is open."""
    decision = after_read_back(in_quiet("queued", ago_s, **seen), ALLOCATION_FAILED, context())
    assert isinstance(decision, FallBack)
    progress = decision.shipment.progress
    assert (progress.step, progress.open_kind, progress.last_refusal) == (1, None, "allocation_failed")
    last = after_read_back(in_quiet("queued", ago_s, step=1, **seen), ALLOCATION_FAILED, context())
    assert isinstance(last, Fail)
    assert last.message == "service_group G: queued by the API, which then could not allocate it"


def test_an_earlier_state_is_no_refusal() -> None:
    """A state that may be from before the call does not count, like any other within the queue time."""
    decision = after_read_back(in_quiet("queued", read_before="allocation_failed"), ALLOCATION_FAILED, context())
    assert isinstance(decision, Park)
    assert decision.wait_s <= MAX_APART_S
