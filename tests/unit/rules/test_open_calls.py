"""Open calls: which outcomes open one, what is recorded, and what later responses mean."""

from dataclasses import replace
from typing import Any

import pytest

from tasks.rules.after_call import after_call
from tasks.rules.backoff import SHORT_TRIES
from tasks.rules.decision import Call, Park, ReadBack, Settle
from tasks.rules.outcome import Outcome, Throttled
from tasks.rules.shipment import Shipment, stopped_call
from tests.factories.shipments import (
    ALLOCATED,
    CONFLICT,
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
    SERVICE,
    THROTTLED,
    UNCERTAIN,
    UNKNOWN,
    VIRTUAL,
    WRONG_STATE,
    context,
    open_call,
    shipment,
)

PLAN = (VIRTUAL, SERVICE, GROUP)
EARLIER = open_call(ago_s=QUIET_S + 5, read_at=NOW - 1, last_read="unallocated")
"""A call that was open and is over, read back as unallocated a second ago."""


def after(outcome: Outcome, **progress: Any) -> Shipment:
    """A shipment after a call with this outcome."""
    return after_call(shipment(*PLAN, **progress), outcome, context()).shipment


@pytest.mark.parametrize("outcome", [UNKNOWN, INVALID_STATE, CONFLICT])
def test_a_call_that_may_take_effect_is_open(outcome: Outcome) -> None:
    """An unknown outcome opens a call, and so do an invalid state and a conflict, also as the first response."""
    progress = after(outcome).progress
    assert (progress.open_kind, progress.open_at, progress.quiet_from) == ("unknown", NOW, NOW)
    assert (progress.open_calls, progress.must_read) == (1, True)


def test_a_queued_call_is_open() -> None:
    """A queued call is open, and the shipment counts as allocating from then on."""
    progress = after(QUEUED).progress
    assert (progress.open_kind, progress.open_at, progress.quiet_from) == ("queued", NOW, NOW)
    assert (progress.open_calls, progress.allocating_since) == (1, NOW)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (shipment(*PLAN), "unallocated"),
        (shipment(*PLAN, attempts=1), None),
        (shipment(*PLAN, unread=True), None),
        (replace(shipment(*PLAN), replays=1), None),
        (shipment(*PLAN, unread=True, last_read="allocation_failed"), "allocation_failed"),
    ],
)
def test_before_its_first_call_a_shipment_is_unallocated(before: Shipment, expected: str | None) -> None:
    """No earlier step can have left a state before the first call, so a failure that is read afterwards is its own."""
    assert after_call(before, QUEUED, context()).shipment.progress.read_before == expected


@pytest.mark.parametrize("outcome", [NOT_SENT, FOREIGN, NOT_YET, THROTTLED, REFUSED, UNCERTAIN, INVALID, NO_ACCESS])
def test_a_call_without_effect_is_not_open(outcome: Outcome) -> None:
    """A call that was not sent, throttled, or refused is not open."""
    progress = after(outcome).progress
    assert (progress.open_kind, progress.open_calls) == (None, 0)


@pytest.mark.parametrize("outcome", [UNKNOWN, QUEUED, CONFLICT, INVALID_STATE])
def test_an_open_call_is_read_back_soon(outcome: Outcome) -> None:
    """The first read-back of a quiet time is due a moment after the call, or with the next visit."""
    decision = after_call(shipment(*PLAN), outcome, context())
    assert isinstance(decision, ReadBack)
    assert decision.pause_s == pytest.approx(0.1, abs=1e-6)
    late = after_call(shipment(*PLAN), outcome, context(tries=SHORT_TRIES))
    assert isinstance(late, Park)
    assert late.wait_s == pytest.approx(0.1, abs=1e-6)
    assert late.shipment.progress.must_read


def test_a_later_open_call_replaces_an_earlier_one() -> None:
    """The latest open call counts, and findings from before and after it are kept apart."""
    progress = after(QUEUED, **EARLIER, also_open=True, give_up_at=NOW).progress
    assert (progress.open_kind, progress.open_at, progress.open_calls) == ("queued", NOW, 2)
    assert (progress.read_before, progress.last_read, progress.read_at) == ("unallocated", None, 0.0)
    assert (progress.repeated_calls, progress.also_open, progress.give_up_at) == (1, False, None)


@pytest.mark.parametrize("outcome", [NOT_SENT, FOREIGN])
def test_a_call_that_was_not_sent_withdraws_only_its_own_mark(outcome: Outcome) -> None:
    """An earlier open call stays recorded, and no repeated call is counted."""
    before = shipment(*PLAN, **EARLIER)
    decision = after_call(before.cleared(NOW + 5), outcome, context(tries=1))
    assert decision == Call(shipment=shipment(*PLAN, **EARLIER | {"attempts": 2}).cleared(NOW + 5), pause_s=0.1)


def test_throttled_leaves_an_earlier_open_call() -> None:
    """A throttled call keeps it too, and is repeated after another read-back."""
    decision = after_call(shipment(*PLAN, **EARLIER), Throttled(reason="throttled", retry_after_s=77), context())
    progress = decision.shipment.progress
    assert isinstance(decision, Park)
    assert (progress.open_kind, progress.open_at) == ("unknown", NOW - QUIET_S - 5)
    assert (progress.must_read, decision.shipment.cleared_until) == (True, 0.0)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (REFUSED, "allocation_failed"),
        (UNCERTAIN, "refused"),
        (INVALID, "invalid_request"),
        (NOT_FOUND, "shipment_not_found"),
        (GONE, "shipment_gone"),
        (WRONG_STATE, "wrong_state"),
    ],
)
@pytest.mark.parametrize("step", [0, 1])
def test_a_refusal_after_an_open_call_is_read_back(outcome: Outcome, reason: str, step: int) -> None:
    """Whatever the step of the open call, it may have taken effect meanwhile, so the refusal does not count yet."""
    before = shipment(*PLAN, age_s=100, step=step, **EARLIER).cleared(NOW + 9)
    decision = after_call(before, outcome, context())
    assert isinstance(decision, ReadBack)
    assert (decision.pause_s, decision.shipment.cleared_until) == (0.0, 0.0)
    assert (decision.shipment.progress.step, decision.shipment.progress.refusal) == (step, reason)


def test_a_success_after_an_open_call_settles() -> None:
    """Whatever call was open, the shipment is allocated, and the repeated call is counted."""
    decision = after_call(shipment(*PLAN, **EARLIER), ALLOCATED, context())
    assert isinstance(decision, Settle)
    assert decision.shipment.progress.repeated_calls == 1


@pytest.mark.parametrize(("outcome", "seconds"), [(UNKNOWN, QUIET_S), (QUEUED, QUEUE_S), (CONFLICT, QUIET_S)])
def test_the_deadline_waits_for_an_open_call(outcome: Outcome, seconds: float) -> None:
    """A call that is still open at the deadline is waited for, as long as it may take effect."""
    before = shipment(*PLAN, age_s=48 * HOUR_S)
    decision = after_call(before, outcome, context(tries=SHORT_TRIES))
    assert isinstance(decision, Park)
    assert decision.wait_s <= seconds


@pytest.mark.parametrize("open_before", [{}, EARLIER])
def test_a_cancelled_call_is_open(open_before: dict[str, Any]) -> None:
    """A cancelled call has an unknown outcome and ended at that time; it counts as an open attempt."""
    progress = stopped_call(shipment(*PLAN, **open_before), NOW).progress
    assert (progress.open_kind, progress.open_at, progress.quiet_from) == ("unknown", NOW, NOW)
    attempts = open_before.get("attempts", 0)
    assert (progress.attempts, progress.open_calls, progress.repeated_calls) == (attempts + 1, attempts + 1, attempts)
