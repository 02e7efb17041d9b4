"""The move after a call: what each outcome leads to."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.backoff import RETRY_AFTER_MOST_S, SHORT_TRIES
from tasks.move import PAUSED_WAIT_S, Call, Fail, FallBack, Move, Park, Read, Settle, after_call
from tasks.outcome import Outcome, Throttled
from tasks.shipment import Shipment
from tests.rules.made import (
    ALLOCATED,
    CONFLICT,
    GONE,
    GROUP,
    HOUR_S,
    INVALID,
    NO_ACCESS,
    NOT_FOUND,
    NOT_SENT,
    NOT_YET,
    NOW,
    OUTCOMES,
    QUEUED,
    REFUSED,
    SERVICE,
    THROTTLED,
    UNKNOWN,
    UNSURE,
    VIRTUAL,
    WRONG_STATE,
    moment,
    shipment,
)

PLAN = (VIRTUAL, SERVICE, GROUP)


def called(*, age_s: float = 0, **progress: Any) -> Shipment:
    """A shipment with a plan of three steps after its first call, and with this progress."""
    return shipment(*PLAN, age_s=age_s, **{"attempts": 1, "attempted": 0, **progress})


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_call_is_an_attempt(outcome: Outcome) -> None:
    """Whatever a call came to, it is counted, and its step is the last that was attempted."""
    progress = after_call(shipment(*PLAN, step=1, attempts=2, attempted=0), outcome, moment()).shipment.progress
    assert (progress.attempts, progress.attempted) == (3, 1)


def test_allocated_settles() -> None:
    """Our own answer is not an adoption."""
    assert after_call(shipment(*PLAN), ALLOCATED, moment()) == Settle(
        shipment=called(), allocated=ALLOCATED, adopted=False
    )


def test_a_refused_step_falls_back() -> None:
    """A definite refusal leads to the next step at once, which begins without the former one's counts."""
    before = shipment(*PLAN, unknowns=3, waits=5)
    assert after_call(before, REFUSED, moment()) == FallBack(shipment=called(step=1, last_refusal="allocation_failed"))


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("outcome", [REFUSED, CONFLICT])
def test_every_step_but_the_last_has_a_fallback(step: int, outcome: Outcome) -> None:
    """Fallback follows any refused step, not only a virtual service, and a conflict too."""
    move = after_call(shipment(*PLAN, step=step), outcome, moment())
    assert isinstance(move, FallBack)
    assert move.shipment.strategy == PLAN[step + 1]


def test_the_last_refusal_fails() -> None:
    """When the last step is refused the shipment fails, and the message names step and cause."""
    move = after_call(shipment(*PLAN, step=2), REFUSED, moment())
    assert isinstance(move, Fail)
    assert (move.reason, move.message) == ("all_steps_refused", "service_group G: nobody would")


def test_a_conflict_fails_as_one() -> None:
    """A conflict at the last step is told apart from a refusal, and is not repeated."""
    move = after_call(shipment(), CONFLICT, moment())
    assert isinstance(move, Fail)
    assert (move.reason, move.message) == ("conflict", "carrier_service S: conflict")


def test_a_refusal_that_names_no_cause_is_read_back() -> None:
    """It may just as well mean that the shipment is allocated already, so it does not count yet."""
    after = called(unread_refusal="refused", unread_message="no")
    assert after_call(shipment(*PLAN), UNSURE, moment()) == Read(shipment=after)


def test_an_invalid_request_is_read_back() -> None:
    """An answer that could not be read might say "already allocated" in words we missed, so it does not count yet."""
    after = called(unread_refusal="invalid_request", unread_message="weight is missing")
    assert after_call(shipment(*PLAN), INVALID, moment()) == Read(shipment=after)


def test_unknown_is_read_back() -> None:
    """A call that may have gone through is read back after a moment, and counts as an unknown one of this step."""
    move = after_call(shipment(*PLAN, unknowns=1), UNKNOWN, moment(tries=1, random=0.5))
    assert move == Read(shipment=called(doubt=True, unknowns=2), pause_s=0.1)


def test_unknown_without_time_left_is_parked_with_its_doubt() -> None:
    """When a visit is over, the read-back is the first thing of the next one."""
    move = after_call(shipment(*PLAN), UNKNOWN, moment(tries=SHORT_TRIES, random=0.0))
    assert move == Park(shipment=called(doubt=True, unknowns=1, waits=1), wait_s=1)


def test_queued_is_read_back() -> None:
    """What the API only took in is read until it is decided; the moment it was taken in is kept."""
    assert after_call(shipment(*PLAN), QUEUED, moment(tries=1)) == Read(shipment=called(queued_at=NOW), pause_s=0.2)
    later = after_call(shipment(*PLAN), QUEUED, moment(tries=SHORT_TRIES, random=0.0))
    assert later == Park(shipment=called(queued_at=NOW, waits=1), wait_s=0.5)


@pytest.mark.parametrize("outcome", [NOT_SENT, NOT_YET])
def test_what_did_not_happen_is_tried_again(outcome: Outcome) -> None:
    """A call that was not sent, or came too early, is repeated: soon at first, then after a growing wait."""
    assert after_call(shipment(*PLAN), outcome, moment(tries=1)) == Call(shipment=called(), pause_s=0.1)
    parked = after_call(shipment(*PLAN, waits=2), outcome, moment(tries=SHORT_TRIES, random=0.0))
    assert parked == Park(shipment=called(waits=3), wait_s=4)


def test_throttled_is_parked_at_once() -> None:
    """Who is throttled never calls again in the same visit."""
    assert after_call(shipment(*PLAN), THROTTLED, moment(tries=1, random=0.0)) == Park(
        shipment=called(waits=1), wait_s=1
    )


@given(st.floats(0, 1e6), st.integers(0, 50))
def test_retry_after_is_honoured(asked_s: float, waits: int) -> None:
    """A throttled shipment is parked for as long as the API asked, up to an hour."""
    move = after_call(shipment(waits=waits), Throttled(reason="throttled", retry_after_s=asked_s), moment())
    assert isinstance(move, Park)
    assert move.wait_s >= min(asked_s, RETRY_AFTER_MOST_S)


def test_a_missing_shipment_may_still_come() -> None:
    """For a minute after the event, which may run ahead, a shipment that is not there is called for again."""
    early = after_call(shipment(*PLAN, age_s=59.9), NOT_FOUND, moment())
    assert isinstance(early, Call)
    late = after_call(shipment(*PLAN, age_s=60), NOT_FOUND, moment())
    assert isinstance(late, Fail)
    assert (late.reason, late.message) == ("shipment_not_found", "no such shipment")


@pytest.mark.parametrize(("outcome", "reason"), [(GONE, "shipment_gone"), (WRONG_STATE, "wrong_state")])
def test_stopped_fails_without_fallback(outcome: Outcome, reason: str) -> None:
    """Where no other step can help, none is tried."""
    move = after_call(shipment(*PLAN), outcome, moment())
    assert isinstance(move, Fail)
    assert move.reason == reason


def test_no_access_pauses_the_merchant() -> None:
    """A key that does not work pauses the merchant; the shipment that met it waits like the others."""
    move = after_call(shipment(*PLAN), NO_ACCESS, moment())
    assert move == Park(shipment=called(), wait_s=PAUSED_WAIT_S, pause_merchant="the key does not work")
    late = after_call(shipment(*PLAN, age_s=48 * HOUR_S), NO_ACCESS, moment())
    assert isinstance(late, Fail)
    assert (late.reason, late.message) == ("unauthorised", "the key does not work")


@pytest.mark.parametrize("outcome", [QUEUED, UNKNOWN, THROTTLED, NOT_SENT, NOT_YET])
def test_no_open_end_beyond_the_deadline(outcome: Outcome) -> None:
    """An outcome that decides nothing, past the deadline, is the end."""
    move = after_call(shipment(*PLAN, age_s=48 * HOUR_S), outcome, moment())
    assert isinstance(move, Fail)
    assert move.reason == "deadline_passed"


def test_the_deadline_tells_what_is_open() -> None:
    """A shipment that fails at its deadline says whether its last call may have gone through."""
    endings: dict[Outcome, str] = {
        UNKNOWN: "; its last call may have gone through and could not be read back",
        QUEUED: "; the API had taken it in and was still allocating it",
        NOT_SENT: "",
    }
    for outcome, ending in endings.items():
        move = after_call(shipment(*PLAN, age_s=48 * HOUR_S), outcome, moment())
        assert isinstance(move, Fail)
        assert move.message == "not allocated in time" + ending


def never_falls_back(move: Move) -> bool:
    """Whether the move stays at the step."""
    return not isinstance(move, FallBack) and move.shipment.progress.step == 0


@pytest.mark.parametrize("outcome", [o for o in OUTCOMES if o not in (REFUSED, CONFLICT)])
@pytest.mark.parametrize("tries", [1, SHORT_TRIES])
@pytest.mark.parametrize("age_s", [0.0, 100.0, 48 * HOUR_S])
def test_only_a_refusal_falls_back(outcome: Outcome, tries: int, age_s: float) -> None:
    """No outage, throttle, doubt or lack of time ever pushes a shipment into its fallback."""
    move = after_call(shipment(*PLAN, age_s=age_s, unknowns=7), outcome, moment(tries=tries))
    assert never_falls_back(move)
