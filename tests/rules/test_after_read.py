"""The move after a read-back: what was found, and what it means for the call before."""

from typing import Any

import pytest

from tasks.backoff import SHORT_TRIES
from tasks.move import (
    CREATION_GRACE_S,
    MOST_LOSSES,
    PAUSED_WAIT_S,
    STUCK_AFTER_S,
    Call,
    Fail,
    FallBack,
    Park,
    Read,
    Settle,
    after_read,
)
from tasks.outcome import Finding, Throttled
from tasks.shipment import Shipment
from tests.rules.made import (
    ALLOCATED,
    CAME_TO_NOTHING,
    FINDINGS,
    GONE,
    GROUP,
    HOUR_S,
    INVALID,
    NO_ACCESS,
    NOT_FOUND,
    NOT_SENT,
    NOT_YET,
    NOW,
    QUEUED,
    REFUSED,
    THROTTLED,
    UNALLOCATED,
    UNKNOWN,
    VIRTUAL,
    WRONG_STATE,
    moment,
    shipment,
)


def doubtful(*, age_s: float = 0, losses: int = 0, **progress: Any) -> Shipment:
    """A shipment whose first call came back unknown, with this progress instead of or besides that."""
    state = {"doubt": True, "unknowns": 1, "attempts": 1, "attempted": 0, **progress}
    return shipment(VIRTUAL, GROUP, age_s=age_s, losses=losses, **state)


def queued(since: float, **progress: Any) -> Shipment:
    """A shipment that the API took in so many seconds ago."""
    return doubtful(doubt=False, unknowns=0, queued_at=NOW - since, age_s=since, **progress)


def test_what_is_found_allocated_is_adopted() -> None:
    """A success that our own answer did not tell is adopted, whatever had been open."""
    for before in (doubtful(), queued(5), doubtful(doubt=False, unread_refusal="no")):
        assert after_read(before, ALLOCATED, moment()) == Settle(shipment=before, allocated=ALLOCATED, adopted=True)
        late = after_read(before, ALLOCATED, moment(now=NOW + 49 * HOUR_S))
        assert isinstance(late, Settle)


@pytest.mark.parametrize("finding", [UNALLOCATED, CAME_TO_NOTHING])
def test_an_unknown_call_that_did_nothing_is_repeated(finding: Finding) -> None:
    """Only a shipment that is read as unallocated is called for again: at the same step, and no longer in doubt."""
    assert after_read(doubtful(), finding, moment(tries=2)) == Call(shipment=doubtful(doubt=False), pause_s=0.2)
    later = after_read(doubtful(), finding, moment(tries=SHORT_TRIES, random=0.0))
    assert later == Park(shipment=doubtful(doubt=False, waits=1), wait_s=1)


@pytest.mark.parametrize("finding", [UNALLOCATED, CAME_TO_NOTHING])
def test_a_refusal_counts_once_it_is_read(finding: Finding) -> None:
    """A refusal that named no cause leads to the next step once the shipment is read as not allocated."""
    before = doubtful(doubt=False, unknowns=0, unread_refusal="refused", unread_message="no")
    after = doubtful(doubt=False, unknowns=0, step=1, last_refusal="refused")
    assert after_read(before, finding, moment()) == FallBack(shipment=after)


def test_the_last_refusal_fails_once_it_is_read() -> None:
    """At the last step it is the end, in the API's own words."""
    move = after_read(doubtful(step=1, unread_refusal="refused", unread_message="no"), UNALLOCATED, moment())
    assert isinstance(move, Fail)
    assert (move.reason, move.message) == ("all_steps_refused", "service_group G: no")
    assert not move.shipment.progress.must_read


def test_an_invalid_request_fails_once_it_is_read() -> None:
    """Data that is wrong is no better at another step: read as not allocated, it fails in the API's own words."""
    before = doubtful(doubt=False, unread_refusal="invalid_request", unread_message="weight is missing")
    move = after_read(before, UNALLOCATED, moment())
    assert isinstance(move, Fail)
    assert (move.reason, move.message) == ("invalid_request", "weight is missing")
    assert isinstance(after_read(before, ALLOCATED, moment()), Settle)


def test_what_was_taken_in_and_failed_is_refused() -> None:
    """A queued shipment that the API could not allocate falls back; read as merely unallocated it is called again."""
    assert isinstance(after_read(queued(5), CAME_TO_NOTHING, moment()), FallBack)
    again = after_read(queued(5), UNALLOCATED, moment())
    assert isinstance(again, Call)
    assert again.shipment.progress.queued_at is None


def test_unknown_calls_are_bounded() -> None:
    """As many calls of a step may come to nothing unknown as the file says; the last is read back like the others."""
    almost = after_read(doubtful(unknowns=2), UNALLOCATED, moment(attempts=3))
    assert isinstance(almost, Call)
    move = after_read(doubtful(unknowns=3), UNALLOCATED, moment(attempts=3))
    assert isinstance(move, Fail)
    assert (move.reason, move.message) == ("attempts_exhausted", "3 calls for virtual_service V came to nothing")


@pytest.mark.parametrize(
    "finding", [UNKNOWN, NOT_SENT, NOT_YET, REFUSED, INVALID, NOT_FOUND, THROTTLED, QUEUED, NO_ACCESS]
)
@pytest.mark.parametrize("unknowns", [1, 1000])
def test_an_unread_doubt_never_calls_falls_back_or_fails(finding: Finding, unknowns: int) -> None:
    """As long as a read-back brings no answer, nothing but another read-back follows, however often."""
    for tries in (1, SHORT_TRIES):
        move = after_read(doubtful(unknowns=unknowns, losses=9), finding, moment(tries=tries))
        assert isinstance(move, Read | Park)
        assert move.shipment.progress.must_read


@pytest.mark.parametrize("finding", [UNKNOWN, NOT_SENT, NOT_YET, REFUSED, INVALID, THROTTLED])
def test_an_unread_doubt_fails_at_the_deadline_alone(finding: Finding) -> None:
    """At the deadline a shipment fails although nobody knows, and the message says so."""
    move = after_read(doubtful(age_s=48 * HOUR_S), finding, moment())
    assert isinstance(move, Fail)
    assert move.reason == "deadline_passed"
    assert move.message == "not allocated in time; its last call may have gone through and could not be read back"


def test_reading_is_repeated_with_patience() -> None:
    """A read-back without an answer is repeated soon, then after a growing wait."""
    assert after_read(doubtful(), UNKNOWN, moment(tries=1)) == Read(shipment=doubtful(), pause_s=0.1)
    assert after_read(doubtful(waits=3), UNKNOWN, moment(tries=SHORT_TRIES, random=0.0)) == Park(
        shipment=doubtful(waits=4), wait_s=8
    )


def test_a_throttled_reading_waits() -> None:
    """Who is throttled does not even read again in the same visit, and waits as long as the API asked."""
    assert after_read(doubtful(), THROTTLED, moment(random=0.0)) == Park(shipment=doubtful(waits=1), wait_s=1)
    asked = after_read(doubtful(), Throttled(reason="throttled", retry_after_s=77), moment())
    assert asked == Park(shipment=doubtful(waits=1), wait_s=77)


def test_a_missing_shipment_does_not_clear_a_doubt() -> None:
    """In the first minute a shipment that is not found is read again, not called for: it may be there, allocated."""
    early = after_read(doubtful(age_s=CREATION_GRACE_S - 1), NOT_FOUND, moment(tries=1))
    assert early == Read(shipment=doubtful(age_s=CREATION_GRACE_S - 1), pause_s=0.1)
    late = after_read(doubtful(age_s=CREATION_GRACE_S), NOT_FOUND, moment(tries=1))
    assert isinstance(late, Fail)
    assert late.reason == "shipment_not_found"


@pytest.mark.parametrize(("finding", "reason"), [(GONE, "shipment_gone"), (WRONG_STATE, "wrong_state")])
def test_what_no_step_can_help(finding: Finding, reason: str) -> None:
    """A shipment that is gone, cancelled or destroyed fails without fallback."""
    move = after_read(doubtful(), finding, moment())
    assert isinstance(move, Fail)
    assert move.reason == reason


def test_no_access_keeps_the_doubt() -> None:
    """A merchant that is paused while a read-back was due owes it still when it is resumed."""
    move = after_read(doubtful(), NO_ACCESS, moment())
    assert move == Park(shipment=doubtful(), wait_s=PAUSED_WAIT_S, pause_merchant="the key does not work")


def test_allocating_clears_the_doubt_and_waits() -> None:
    """A shipment that is found being allocated went through and is waited for, with its first sight as beginning."""
    move = after_read(doubtful(), QUEUED, moment(tries=1))
    assert move == Read(shipment=doubtful(doubt=False, queued_at=NOW), pause_s=0.2)
    again = after_read(queued(50), QUEUED, moment(tries=SHORT_TRIES, random=0.0))
    assert again == Park(shipment=queued(50, waits=1), wait_s=0.5)


def test_allocating_is_not_waited_for_without_end() -> None:
    """After half an hour, or a quarter of a shorter deadline, a shipment that is still allocating fails."""
    assert isinstance(after_read(queued(STUCK_AFTER_S), QUEUED, moment()), Read)
    for seconds, hours in [(STUCK_AFTER_S + 1, 48), (901, 1)]:
        move = after_read(queued(seconds), QUEUED, moment(deadline_hours=hours))
        assert isinstance(move, Fail)
        assert (move.reason, move.message) == (
            "stuck_allocating",
            f"the API has been allocating it for {seconds:.0f} s",
        )


def test_a_shipment_that_lost_its_workers_is_only_read() -> None:
    """After three lost workers a read-back may still adopt or refuse, but no further call goes out."""
    lost = after_read(doubtful(losses=MOST_LOSSES), UNALLOCATED, moment())
    assert isinstance(lost, Fail)
    assert (lost.reason, lost.message) == ("worker_lost", "lost its worker 3 times")
    assert isinstance(after_read(doubtful(losses=MOST_LOSSES), ALLOCATED, moment()), Settle)


@pytest.mark.parametrize("finding", FINDINGS)
def test_reading_is_no_attempt(finding: Finding) -> None:
    """An attempt is a call for a step, and a read-back is none."""
    progress = after_read(doubtful(attempts=4), finding, moment()).shipment.progress
    assert (progress.attempts, progress.attempted) == (4, 0)
