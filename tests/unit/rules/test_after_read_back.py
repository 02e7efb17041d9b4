"""Decisions after a read-back that follows the quiet time: its finding, and what it means for the open call."""

from typing import Any

import pytest

from tasks.rules.after_read_back import after_read_back
from tasks.rules.backoff import SHORT_TRIES
from tasks.rules.before_call import MAX_LOSSES
from tasks.rules.decision import Call, Fail, FallBack, Park, ReadBack, Settle
from tasks.rules.next_decision import CREATION_GRACE_S, PAUSED_WAIT_S
from tasks.rules.outcome import Finding, Throttled
from tasks.rules.quiet_time import CLEARED_S
from tasks.rules.shipment import Shipment
from tests.factories.shipments import (
    ALLOCATED,
    ALLOCATION_FAILED,
    FINDINGS,
    FORBIDDEN,
    FOREIGN,
    GONE,
    GROUP,
    HOUR_S,
    INVALID,
    INVALID_STATE,
    NO_ACCESS,
    NOT_FOUND,
    NOT_SENT,
    NOT_YET,
    NOW,
    QUEUE_S,
    QUEUED,
    QUIET_S,
    REFUSED,
    THROTTLED,
    TIMEOUT_S,
    UNALLOCATED,
    UNKNOWN,
    VIRTUAL,
    WRONG_STATE,
    context,
    open_call,
    shipment,
)

SILENT = (UNKNOWN, NOT_SENT, FOREIGN, NOT_YET, REFUSED, INVALID, INVALID_STATE)
"""Findings without information about the shipment."""


def doubtful(*, age_s: float = 0, losses: int = 0, **progress: Any) -> Shipment:
    """A shipment whose first call was open and is over, at its first read-back."""
    state = open_call(ago_s=QUIET_S) | {"read_at": NOW} | progress
    return shipment(VIRTUAL, GROUP, age_s=age_s, losses=losses, **state)


def queued(**progress: Any) -> Shipment:
    """A shipment whose first call was queued for all of its queue time."""
    return doubtful(**open_call("queued", ago_s=QUEUE_S, **progress))


@pytest.mark.parametrize("before", [doubtful(), queued(), doubtful(refusal="no"), shipment(unread=True, read_at=NOW)])
def test_an_allocated_shipment_is_adopted(before: Shipment) -> None:
    """A shipment found allocated is adopted, whatever call was open, also after the deadline."""
    assert after_read_back(before, ALLOCATED, context()) == Settle(shipment=before, allocated=ALLOCATED, adopted=True)
    late = after_read_back(before, ALLOCATED, context(now=NOW + 49 * HOUR_S))
    assert isinstance(late, Settle)


@pytest.mark.parametrize("finding", [UNALLOCATED, ALLOCATION_FAILED])
@pytest.mark.parametrize("kind", ["unknown", "queued"])
def test_an_open_call_without_effect_is_repeated(finding: Finding, kind: str) -> None:
    """After the quiet time, a shipment that is read as unallocated is called again, at the same step."""
    before = doubtful() if kind == "unknown" else queued()
    after = before.with_progress(last_read=getattr(finding, "state", None))
    assert after_read_back(before, finding, context()) == Call(shipment=after.cleared(NOW + CLEARED_S))


def test_a_read_back_clears_a_call_for_a_while() -> None:
    """It is valid for ten seconds from its response, however slow that was."""
    decision = after_read_back(doubtful(), UNALLOCATED, context(now=NOW + 20, sent=NOW))
    assert isinstance(decision, Call)
    assert decision.shipment.cleared_until == NOW + 30


@pytest.mark.parametrize("finding", [UNALLOCATED, ALLOCATION_FAILED])
def test_a_refusal_counts_after_a_read_back(finding: Finding) -> None:
    """A refusal after an open call leads to the next step, which still records that call."""
    before = doubtful(refusal="refused", refusal_message="no")
    after = before.with_progress(
        step=1, open_calls=0, refusal=None, refusal_message="", last_read=getattr(finding, "state", None)
    )
    assert after_read_back(before, finding, context()) == FallBack(shipment=after.with_progress(last_refusal="refused"))


def test_the_last_refusal_fails_after_a_read_back() -> None:
    """At the last step the shipment fails, with the API's own message."""
    decision = after_read_back(doubtful(step=1, refusal="refused", refusal_message="no"), UNALLOCATED, context())
    assert isinstance(decision, Fail)
    assert (decision.reason, decision.message) == ("all_steps_refused", "service_group G: no")


def test_a_conflict_fails_as_one() -> None:
    """A conflict at the last step has a reason different from a refusal."""
    decision = after_read_back(doubtful(step=1, refusal="conflict"), UNALLOCATED, context())
    assert isinstance(decision, Fail)
    assert (decision.reason, decision.message) == ("conflict", "service_group G: conflict")
    assert isinstance(after_read_back(doubtful(refusal="conflict"), UNALLOCATED, context()), FallBack)


@pytest.mark.parametrize("reason", ["invalid_request", "shipment_not_found", "shipment_gone", "wrong_state"])
def test_a_stopped_shipment_fails_after_a_read_back(reason: str) -> None:
    """Such a refusal would be the same at another step: read as unallocated, it fails with the API's own message."""
    before = doubtful(refusal=reason, refusal_message="weight is missing")
    decision = after_read_back(before, UNALLOCATED, context())
    assert isinstance(decision, Fail)
    assert (decision.reason, decision.message) == (reason, "weight is missing")
    assert isinstance(after_read_back(before, ALLOCATED, context()), Settle)


@pytest.mark.parametrize("kind", ["unknown", "queued"])
def test_open_calls_are_bounded(kind: str) -> None:
    """The file limits the open calls of a step that have no effect; the last one is read back like the others."""
    before = doubtful() if kind == "unknown" else queued()
    almost = after_read_back(before.with_progress(open_calls=2), UNALLOCATED, context(attempts=3))
    assert isinstance(almost, Call)
    decision = after_read_back(before.with_progress(open_calls=3), UNALLOCATED, context(attempts=3))
    assert isinstance(decision, Fail)
    assert (decision.reason, decision.message) == (
        "attempts_exhausted",
        "3 calls for virtual_service V had no effect",
    )


@pytest.mark.parametrize("finding", [*SILENT, THROTTLED, QUEUED, NO_ACCESS, FORBIDDEN])
@pytest.mark.parametrize("open_calls", [1, 1000])
def test_without_a_finding_only_read_backs_follow(finding: Finding, open_calls: int) -> None:
    """Until a read-back succeeds, a shipment is not called for, does not fall back and does not fail."""
    for tries in (1, SHORT_TRIES):
        decision = after_read_back(doubtful(open_calls=open_calls, losses=9), finding, context(tries=tries))
        assert isinstance(decision, ReadBack | Park)
        assert decision.shipment.progress.must_read


@pytest.mark.parametrize("finding", [*SILENT, THROTTLED])
def test_at_the_deadline_it_fails_with_an_unknown_state(finding: Finding) -> None:
    """When the last read-back has no response the shipment fails, and the message states that its state is unknown."""
    decision = after_read_back(doubtful(age_s=48 * HOUR_S), finding, context())
    assert isinstance(decision, Fail)
    assert decision.reason == "deadline_passed"
    assert decision.message == "not allocated in time; its last call may have taken effect and could not be read back"


def test_the_message_states_that_it_was_allocating() -> None:
    """A shipment last read as allocating may be allocated, and the message states this."""
    before = doubtful(age_s=48 * HOUR_S, last_read="allocating")
    decision = after_read_back(before, UNKNOWN, context())
    assert isinstance(decision, Fail)
    assert decision.message == "not allocated in time; the API was allocating it, and it could no longer be read back"


def test_read_backs_are_repeated_with_growing_waits() -> None:
    """A read-back without a response is repeated soon, then after growing waits."""
    assert after_read_back(doubtful(), UNKNOWN, context(tries=1)) == ReadBack(shipment=doubtful(), pause_s=0.1)
    later = Park(shipment=doubtful(waits=4), wait_s=8)
    assert after_read_back(doubtful(waits=3), UNKNOWN, context(tries=SHORT_TRIES, random=0.0)) == later


def test_a_throttled_read_back_waits() -> None:
    """A throttled read-back is not repeated in the same visit, and waits for the time of `Retry-After`."""
    assert after_read_back(doubtful(), THROTTLED, context(random=0.0)) == Park(shipment=doubtful(waits=1), wait_s=1)
    throttled = after_read_back(doubtful(), Throttled(reason="throttled", retry_after_s=77), context())
    assert throttled == Park(shipment=doubtful(waits=1), wait_s=77)


def test_a_missing_shipment_is_read_again() -> None:
    """In the first minute a missing shipment is read again, not called for: it may appear, allocated."""
    young = doubtful(age_s=CREATION_GRACE_S - 1)
    assert after_read_back(young, NOT_FOUND, context(tries=1)) == ReadBack(shipment=young, pause_s=0.1)
    late = after_read_back(doubtful(age_s=CREATION_GRACE_S), NOT_FOUND, context(tries=1))
    assert isinstance(late, Fail)
    assert late.reason == "shipment_not_found"


@pytest.mark.parametrize(("finding", "reason"), [(GONE, "shipment_gone"), (WRONG_STATE, "wrong_state")])
def test_other_final_states(finding: Finding, reason: str) -> None:
    """A shipment that is gone, cancelled or destroyed fails without fallback."""
    decision = after_read_back(doubtful(), finding, context())
    assert isinstance(decision, Fail)
    assert decision.reason == reason


def test_a_pause_keeps_open_calls() -> None:
    """After a pause, the shipment still needs the read-back that was due."""
    decision = after_read_back(doubtful(), NO_ACCESS, context())
    assert decision == Park(shipment=doubtful(), wait_s=PAUSED_WAIT_S, pause_merchant="the key does not work")


def test_a_shipment_with_too_many_losses_is_only_read_back() -> None:
    """After three lost workers a read-back may still adopt or refuse, but no further call is made."""
    lost = after_read_back(doubtful(losses=MAX_LOSSES), UNALLOCATED, context())
    assert isinstance(lost, Fail)
    assert (lost.reason, lost.message) == ("worker_lost", "lost its worker 3 times")
    assert isinstance(after_read_back(doubtful(losses=MAX_LOSSES), ALLOCATED, context()), Settle)
    assert isinstance(after_read_back(doubtful(losses=MAX_LOSSES, refusal="no"), UNALLOCATED, context()), FallBack)


def test_no_call_without_enough_time() -> None:
    """Without time for the timeout and a quiet time, the shipment waits for its deadline and is read once more."""
    left_s = TIMEOUT_S + QUIET_S
    late = doubtful(age_s=48 * HOUR_S - left_s + 1)
    waits = Park(shipment=late.with_progress(last_read="unallocated"), wait_s=left_s - 1)
    assert after_read_back(late, UNALLOCATED, context()) == waits
    assert isinstance(after_read_back(doubtful(age_s=48 * HOUR_S - left_s), UNALLOCATED, context()), Call)
    over = after_read_back(doubtful(age_s=48 * HOUR_S), UNALLOCATED, context())
    assert isinstance(over, Fail)
    assert (over.reason, over.message) == ("deadline_passed", "not allocated in time")


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_read_back_is_no_attempt(finding: Finding) -> None:
    """Only calls for a step are attempts."""
    progress = after_read_back(doubtful(attempts=4), finding, context()).shipment.progress
    assert (progress.attempts, progress.attempted) == (4, 0)


def test_a_refusal_is_discarded_if_the_shipment_is_missing() -> None:
    """If the read-back that should confirm a refusal finds no shipment, the same step is called again."""
    young = shipment(VIRTUAL, GROUP, age_s=1, attempts=1, attempted=0, refusal="virtual_service_not_found")
    missing = after_read_back(young, NOT_FOUND, context(sent=NOW))
    assert isinstance(missing, ReadBack)
    assert (missing.shipment.progress.refusal, missing.shipment.progress.must_read) == (None, True)
    there = after_read_back(missing.shipment, UNALLOCATED, context(sent=NOW))
    assert isinstance(there, Call)
    assert there.shipment.progress.step == 0
