"""Decisions after a failed quote request: no attempt, no quiet time, and bounded retries."""

import pytest

from tasks.rules.after_call import MAX_EXPIRED_QUOTES, after_call, after_quotes
from tasks.rules.backoff import SHORT_TRIES
from tasks.rules.decision import Call, Fail, FallBack, Park, ReadBack
from tasks.rules.next_decision import PAUSED_WAIT_S
from tasks.rules.outcome import NotYet, Outcome
from tests.factories.shipments import (
    CONFLICT,
    GROUP,
    INVALID,
    INVALID_STATE,
    NO_ACCESS,
    NOT_FOUND,
    NOT_SENT,
    NOT_YET,
    NOW,
    OUTCOMES,
    QUIET_S,
    REFUSED,
    THROTTLED,
    UNCERTAIN,
    UNKNOWN,
    VIRTUAL,
    context,
    open_call,
    shipment,
)

PLAN = (VIRTUAL, GROUP)
EXPIRED = NotYet(reason="quote_expired", message="every quote had expired when it arrived")


@pytest.mark.parametrize("outcome", [*OUTCOMES, EXPIRED])
@pytest.mark.parametrize("tries", [1, SHORT_TRIES])
def test_a_quote_request_is_not_a_call(outcome: Outcome, tries: int) -> None:
    """Whatever the response, no call is open and no attempt is counted."""
    progress = after_quotes(shipment(*PLAN), outcome, context(tries=tries)).shipment.progress
    assert (progress.open_kind, progress.open_calls, progress.attempts, progress.attempted) == (None, 0, 0, None)


@pytest.mark.parametrize("outcome", [UNKNOWN, NOT_SENT, NOT_YET])
def test_it_is_repeated(outcome: Outcome) -> None:
    """Without a response, quotes are requested again: soon at first, then after growing waits."""
    assert after_quotes(shipment(*PLAN), outcome, context(tries=1)) == Call(shipment=shipment(*PLAN), pause_s=0.1)
    parked = after_quotes(shipment(*PLAN, waits=2), outcome, context(tries=SHORT_TRIES, random=0.0))
    assert parked == Park(shipment=shipment(*PLAN, waits=3), wait_s=4)


def test_a_refusal_counts_at_once() -> None:
    """A refusal or a conflict refuses the step, as a quote request allocates nothing."""
    for refusal in (REFUSED, CONFLICT):
        assert isinstance(after_quotes(shipment(*PLAN), refusal, context()), FallBack)


@pytest.mark.parametrize("outcome", [UNCERTAIN, INVALID])
def test_a_refusal_without_a_cause_is_read_back(outcome: Outcome) -> None:
    """The shipment may be allocated."""
    decision = after_quotes(shipment(*PLAN), outcome, context())
    assert isinstance(decision, ReadBack)
    assert decision.shipment.progress.refusal == outcome.reason


def test_a_refusal_after_an_open_call_is_read_back() -> None:
    """An earlier call may have taken effect meanwhile."""
    before = shipment(*PLAN, **open_call(ago_s=QUIET_S + 5)).cleared(NOW + 5)
    decision = after_quotes(before, REFUSED, context())
    assert isinstance(decision, ReadBack)
    assert (decision.shipment.progress.refusal, decision.shipment.cleared_until) == ("allocation_failed", 0.0)


def test_an_invalid_state_is_read_back() -> None:
    """The shipment may be allocated; the response opens no call, and requests are bounded within a visit."""
    decision = after_quotes(shipment(*PLAN).cleared(NOW + 5), INVALID_STATE, context(tries=1))
    assert decision == ReadBack(shipment=shipment(*PLAN, unread=True), pause_s=0.1)
    later = after_quotes(shipment(*PLAN, waits=2), INVALID_STATE, context(tries=SHORT_TRIES, random=0.0))
    assert later == Park(shipment=shipment(*PLAN, unread=True, waits=3), wait_s=4)


def test_expired_quotes_refuse_the_step_after_some_tries() -> None:
    """After a few expired quotes the step is refused, whether they expired before or during the call."""
    of = shipment(*PLAN)
    for _ in range(MAX_EXPIRED_QUOTES - 2):
        again = after_quotes(of, EXPIRED, context())
        assert isinstance(again, Call)
        of = again.shipment
    in_the_call = after_call(of, EXPIRED, context())
    assert isinstance(in_the_call, Call)
    assert in_the_call.shipment.progress.attempts == 1
    last = after_quotes(in_the_call.shipment, EXPIRED, context())
    assert isinstance(last, FallBack)
    progress = last.shipment.progress
    assert (progress.last_refusal, progress.expired_quotes) == ("quote_expired", 0)


def test_other_ends() -> None:
    """Throttling parks, an invalid key pauses the merchant, and a missing shipment fails."""
    throttled = Park(shipment=shipment(*PLAN, waits=1), wait_s=1)
    assert after_quotes(shipment(*PLAN), THROTTLED, context(random=0.0)) == throttled
    paused = Park(shipment=shipment(*PLAN), wait_s=PAUSED_WAIT_S, pause_merchant="the key does not work")
    assert after_quotes(shipment(*PLAN), NO_ACCESS, context()) == paused
    missing = after_quotes(shipment(*PLAN, age_s=61), NOT_FOUND, context())
    assert isinstance(missing, Fail)
    assert missing.reason == "shipment_not_found"
