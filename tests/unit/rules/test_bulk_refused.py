"""A refused bulk call: the bad shipment is isolated by splitting, and the others lose nothing."""

import pytest

from tasks.rules.after_call import after_call
from tasks.rules.after_read_back import after_read_back
from tasks.rules.decision import Call, Fail, FallBack, Park, ReadBack
from tasks.rules.outcome import BulkRefused
from tasks.rules.shipment import Shipment
from tests.factories.shipments import (
    BULK_REFUSED,
    GROUP,
    HOUR_S,
    NOW,
    PARTLY_REFUSED,
    QUIET_S,
    REFUSED,
    UNALLOCATED,
    UNCERTAIN,
    VIRTUAL,
    context,
    open_call,
    shipment,
)

PLAN = (VIRTUAL, GROUP)


@pytest.mark.parametrize(("group_size", "fewer"), [(100, 50), (11, 6), (3, 2), (2, 1)])
def test_v2_splits_in_halves(group_size: int, fewer: int) -> None:
    """No call took effect, so each shipment is called again at once, in a call of half the size."""
    decision = after_call(shipment(*PLAN), BULK_REFUSED, context(group_size=group_size))
    assert decision == Call(shipment=shipment(*PLAN, attempts=1, attempted=0, group_size=fewer))


def test_halves_end_in_single_shipments() -> None:
    """Whatever the size, after at most seven calls a shipment is called for alone."""
    of, companies = shipment(*PLAN), [100]
    while companies[-1] > 1:
        of = after_call(of, BULK_REFUSED, context(group_size=companies[-1])).shipment
        companies.append(of.progress.group_size or 0)
    assert len(companies) == 8
    assert (of.progress.step, of.progress.open_calls) == (0, 0)


@pytest.mark.parametrize("outcome", [BULK_REFUSED, PARTLY_REFUSED])
def test_no_attempt_is_counted(outcome: object) -> None:
    """A bulk refusal is no refusal of any shipment, and no open call without effect."""
    assert isinstance(outcome, type(BULK_REFUSED))
    decision = after_call(shipment(*PLAN, open_calls=1), outcome, context(group_size=9, attempts=1))
    assert not isinstance(decision, FallBack | Fail)
    assert decision.shipment.progress.open_calls == 1


def partly_refused(ago_s: float) -> Shipment:
    """A shipment of a v1 call for ten that was refused as a whole so long ago."""
    return shipment(*PLAN, **open_call(ago_s=ago_s, open_calls=0), group_size=5, refused_partly=True)


def test_the_first_of_v1_is_an_open_call() -> None:
    """A part may have taken effect: each shipment has a quiet time, and is read back before the next call."""
    decision = after_call(shipment(*PLAN), PARTLY_REFUSED, context(group_size=10))
    assert isinstance(decision, ReadBack)
    assert decision.shipment == partly_refused(0.0)
    quiet = after_read_back(partly_refused(10), UNALLOCATED, context())
    assert isinstance(quiet, Park)
    assert isinstance(after_read_back(partly_refused(QUIET_S), UNALLOCATED, context()), Call)


def test_each_further_one_of_v1_is_read_back() -> None:
    """The quiet time is over, but a part of this call may have been allocated too."""
    decision = after_call(partly_refused(100).cleared(NOW + 9), PARTLY_REFUSED, context(group_size=5))
    assert isinstance(decision, ReadBack)
    assert (decision.pause_s, decision.shipment.cleared_until) == (0.0, 0.0)
    progress = decision.shipment.progress
    assert (progress.group_size, progress.open_at, progress.must_read) == (3, NOW - 100, True)


def test_one_of_v1_after_another_kind_of_refusal_is_the_first() -> None:
    """A bulk refusal without any effect opens no call, so the next one, which may have a partial effect, does."""
    before = after_call(shipment(*PLAN), BULK_REFUSED, context(group_size=10)).shipment
    progress = after_call(before, PARTLY_REFUSED, context(group_size=5)).shipment.progress
    assert (progress.open_kind, progress.group_size) == ("unknown", 3)


@pytest.mark.parametrize("reason", ["conflict", "invalid_state"])
def test_a_conflict_of_all_is_an_open_call_each_time(reason: str) -> None:
    """A gateway may have sent this call twice, so it is waited for, whatever was refused before."""
    conflict = BulkRefused(reason=reason, partly=True)
    for before in (shipment(*PLAN), partly_refused(100)):
        decision = after_call(before, conflict, context(group_size=5))
        assert (decision.shipment.progress.open_kind, decision.shipment.progress.open_at) == ("unknown", NOW)
        assert (decision.shipment.progress.group_size, decision.shipment.progress.open_calls) == (3, 0)


def test_an_earlier_finding_does_not_count_after_it() -> None:
    """A refused call may change the state, so an earlier finding is not the state before the next call."""
    before = shipment(*PLAN, last_read="unallocated")
    assert after_call(before, BULK_REFUSED, context(group_size=10)).shipment.progress.last_read is None


def test_a_single_refusal_counts() -> None:
    """A shipment refused alone falls back, with v1 after a read-back, and may join a bulk call at the next step."""
    alone = shipment(*PLAN, group_size=1)
    decision = after_call(alone, REFUSED, context())
    assert isinstance(decision, FallBack)
    assert decision.shipment.progress.group_size is None
    unsure = after_call(partly_refused(100), UNCERTAIN, context())
    assert isinstance(unsure, ReadBack)
    refused = after_read_back(unsure.shipment, UNALLOCATED, context())
    assert isinstance(refused, FallBack)
    assert (refused.shipment.progress.group_size, refused.shipment.progress.refused_partly) == (None, False)


def test_a_split_ends_before_the_deadline() -> None:
    """With too little time left for a call the shipment waits for its deadline; after it, it fails."""
    late = after_call(shipment(*PLAN, age_s=48 * HOUR_S - 60), BULK_REFUSED, context(group_size=10))
    assert isinstance(late, Park)
    assert late.wait_s == 60
    over = after_call(shipment(*PLAN, age_s=48 * HOUR_S), BULK_REFUSED, context(group_size=10))
    assert isinstance(over, Fail)
    assert over.reason == "deadline_passed"
