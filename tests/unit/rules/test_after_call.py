"""Decisions after a call, when no earlier call was open."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.rules.after_call import after_call
from tasks.rules.backoff import RETRY_AFTER_MOST_S, SHORT_TRIES
from tasks.rules.decision import Call, Decision, Fail, FallBack, Park, ReadBack, Settle
from tasks.rules.next_decision import PAUSED_WAIT_S
from tasks.rules.outcome import Outcome, Throttled
from tasks.rules.shipment import Shipment
from tests.factories.shipments import (
    ALLOCATED,
    CONFLICT,
    FOREIGN,
    GONE,
    GROUP,
    HOUR_S,
    INVALID,
    NO_ACCESS,
    NOT_FOUND,
    NOT_SENT,
    NOT_YET,
    OUTCOMES,
    QUIET_S,
    REFUSED,
    SERVICE,
    THROTTLED,
    TIMEOUT_S,
    UNCERTAIN,
    VIRTUAL,
    WRONG_STATE,
    context,
    shipment,
)

PLAN = (VIRTUAL, SERVICE, GROUP)
LAST_CALL_S = 48 * HOUR_S - TIMEOUT_S - QUIET_S
"""The age at which the last call may start."""


def called(*, age_s: float = 0, **progress: Any) -> Shipment:
    """A shipment with three steps after its first call, with this progress."""
    return shipment(*PLAN, age_s=age_s, **{"attempts": 1, "attempted": 0, **progress})


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_call_is_an_attempt(outcome: Outcome) -> None:
    """Whatever its outcome, a call counts as an attempt, and its step is the last attempted one."""
    progress = after_call(shipment(*PLAN, step=1, attempts=2, attempted=0), outcome, context()).shipment.progress
    assert (progress.attempts, progress.attempted) == (3, 1)


def test_allocated_settles() -> None:
    """A call's own response is not an adoption."""
    settled = Settle(shipment=called(), allocated=ALLOCATED, adopted=False)
    assert after_call(shipment(*PLAN), ALLOCATED, context()) == settled


def test_a_refused_step_falls_back() -> None:
    """A definite refusal leads to the next step at once, with fresh counters."""
    counts = {
        "open_calls": 3,
        "waits": 5,
        "group_size": 2,
        "refused_partly": True,
        "expired_quotes": 1,
        "denials": 1,
    }
    before = shipment(*PLAN, **counts, denied_at=1.0, give_up_at=9.0)
    assert after_call(before, REFUSED, context()) == FallBack(shipment=called(step=1, last_refusal="allocation_failed"))


def test_a_refused_call_invalidates_the_state() -> None:
    """A state read before a refused call is not the state in which the next step begins."""
    decision = after_call(shipment(*PLAN, last_read="unallocated"), REFUSED, context())
    assert decision.shipment.progress.last_read is None


@pytest.mark.parametrize("step", [0, 1])
def test_every_step_but_the_last_has_a_fallback(step: int) -> None:
    """Any refused step falls back, not only a virtual service."""
    decision = after_call(shipment(*PLAN, step=step), REFUSED, context())
    assert isinstance(decision, FallBack)
    assert decision.shipment.strategy == PLAN[step + 1]


def test_the_last_refusal_fails() -> None:
    """When the last step is refused the shipment fails, and the message names step and cause."""
    decision = after_call(shipment(*PLAN, step=2), REFUSED, context())
    assert isinstance(decision, Fail)
    assert (decision.reason, decision.message) == ("all_steps_refused", "service_group G: no carrier accepts it")


def test_a_refusal_without_a_cause_is_read_back_at_once() -> None:
    """The shipment may be allocated already, so the refusal does not count yet; no call is open."""
    assert after_call(shipment(*PLAN), UNCERTAIN, context()) == ReadBack(
        shipment=called(refusal="refused", refusal_message="no")
    )


def test_an_invalid_request_is_read_back_at_once() -> None:
    """An unreadable response might state that the shipment is allocated, so it does not count yet."""
    after = called(refusal="invalid_request", refusal_message="weight is missing")
    assert after_call(shipment(*PLAN), INVALID, context()) == ReadBack(shipment=after)


@pytest.mark.parametrize("outcome", [NOT_SENT, FOREIGN, NOT_YET])
def test_a_call_without_effect_is_repeated(outcome: Outcome) -> None:
    """A call that was not sent, or was sent too early, is repeated: soon at first, then after growing waits."""
    assert after_call(shipment(*PLAN), outcome, context(tries=1)) == Call(shipment=called(), pause_s=0.1)
    parked = after_call(shipment(*PLAN, waits=2), outcome, context(tries=SHORT_TRIES, random=0.0))
    assert parked == Park(shipment=called(waits=3), wait_s=4)


def test_throttled_is_parked_at_once() -> None:
    """A throttled shipment makes no other call in the same visit."""
    parked = Park(shipment=called(waits=1), wait_s=1)
    assert after_call(shipment(*PLAN), THROTTLED, context(tries=1, random=0.0)) == parked


@given(st.floats(0, 1e6), st.integers(0, 50))
def test_retry_after_is_honoured(asked_s: float, waits: int) -> None:
    """A throttled shipment is parked for the time of `Retry-After`, up to an hour."""
    decision = after_call(shipment(waits=waits), Throttled(reason="throttled", retry_after_s=asked_s), context())
    assert isinstance(decision, Park)
    assert decision.wait_s >= min(asked_s, RETRY_AFTER_MOST_S)


def test_a_missing_shipment_is_retried() -> None:
    """For a minute after its event, which may precede the shipment, a missing shipment is called again."""
    early = after_call(shipment(*PLAN, age_s=59.9), NOT_FOUND, context())
    assert isinstance(early, Call)
    late = after_call(shipment(*PLAN, age_s=60), NOT_FOUND, context())
    assert isinstance(late, Fail)
    assert (late.reason, late.message) == ("shipment_not_found", "no such shipment")


@pytest.mark.parametrize(("outcome", "reason"), [(GONE, "shipment_gone"), (WRONG_STATE, "wrong_state")])
def test_stopped_fails_without_fallback(outcome: Outcome, reason: str) -> None:
    """A shipment that no other step can help fails at once."""
    decision = after_call(shipment(*PLAN), outcome, context())
    assert isinstance(decision, Fail)
    assert decision.reason == reason


def test_no_access_pauses_the_merchant() -> None:
    """An invalid key pauses the merchant; the shipment itself waits like the others."""
    decision = after_call(shipment(*PLAN), NO_ACCESS, context())
    assert decision == Park(shipment=called(), wait_s=PAUSED_WAIT_S, pause_merchant="the key does not work")
    late = after_call(shipment(*PLAN, age_s=48 * HOUR_S), NO_ACCESS, context())
    assert isinstance(late, Fail)
    assert (late.reason, late.message) == ("unauthorised", "the key does not work")


@pytest.mark.parametrize("outcome", [NOT_SENT, NOT_YET])
def test_no_call_without_enough_time(outcome: Outcome) -> None:
    """With less time left than the timeout and a quiet time, no call is made; the shipment waits for its deadline."""
    assert isinstance(after_call(shipment(*PLAN, age_s=LAST_CALL_S), outcome, context()), Call)
    late = after_call(shipment(*PLAN, age_s=LAST_CALL_S + 1), outcome, context())
    assert late == Park(shipment=called(age_s=LAST_CALL_S + 1), wait_s=TIMEOUT_S + QUIET_S - 1)


@pytest.mark.parametrize("outcome", [THROTTLED, NOT_SENT, NOT_YET])
def test_the_deadline_ends_a_shipment_without_an_open_call(outcome: Outcome) -> None:
    """After the deadline, an outcome that opens no call fails the shipment."""
    decision = after_call(shipment(*PLAN, age_s=48 * HOUR_S), outcome, context())
    assert isinstance(decision, Fail)
    assert (decision.reason, decision.message) == ("deadline_passed", "not allocated in time")


def never_falls_back(decision: Decision) -> bool:
    """Whether the decision stays at the step."""
    return not isinstance(decision, FallBack) and decision.shipment.progress.step == 0


@pytest.mark.parametrize("outcome", [outcome for outcome in OUTCOMES if outcome is not REFUSED])
@pytest.mark.parametrize("tries", [1, SHORT_TRIES])
@pytest.mark.parametrize("age_s", [0.0, 100.0, LAST_CALL_S + 1, 48 * HOUR_S])
def test_only_a_refusal_falls_back(outcome: Outcome, tries: int, age_s: float) -> None:
    """Outages, throttling, doubts, conflicts and lack of time never cause a fallback."""
    assert never_falls_back(after_call(shipment(*PLAN, age_s=age_s, open_calls=7), outcome, context(tries=tries)))


def test_a_conflict_does_not_count_yet() -> None:
    """A gateway may have sent the request twice, so that it conflicts with itself."""
    after = after_call(shipment(*PLAN), CONFLICT, context()).shipment.progress
    assert (after.open_kind, after.refusal) == ("unknown", "conflict")
