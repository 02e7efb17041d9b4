"""The first decision of a visit: conditions that prevent a call."""

from typing import Any

import pytest

from tasks.rules.before_call import HOPELESS_LOSSES, LAST_READ_S, MAX_LOSSES, first_decision, held_up, paused_decision
from tasks.rules.cancelled import end_unread
from tasks.rules.decision import Call, Fail, Park, ReadBack
from tasks.rules.frozen import with_changes
from tasks.rules.next_decision import PAUSED_WAIT_S
from tests.factories.shipments import HOUR_S, NOW, QUIET_S, TIMEOUT_S, context, open_call, shipment

UNREAD = "; its last call may have taken effect and could not be read back"
OVER = open_call(ago_s=QUIET_S)
"""An open call whose quiet time has just ended."""


def test_a_new_shipment_is_called_for() -> None:
    """The first call is made at once."""
    assert first_decision(shipment(), context()) == Call(shipment=shipment())


@pytest.mark.parametrize("state", [OVER, open_call("queued", 900), {"unread": True}, {"refusal": "no"}])
def test_required_read_backs_come_first(state: dict[str, Any]) -> None:
    """An earlier open call is read back before anything else, also after the deadline."""
    for age_s in (0.0, 49 * HOUR_S):
        of = shipment(age_s=age_s, **state)
        assert first_decision(of, context()) == ReadBack(shipment=of)


@pytest.mark.parametrize("kind", ["unknown", "queued"])
@pytest.mark.parametrize("age_s", [0.0, 49 * HOUR_S])
def test_within_the_quiet_time_it_waits_for_the_schedule(kind: str, age_s: float) -> None:
    """A visit that starts too early waits for the next read-back, due by the call and the last read-back."""
    of = shipment(age_s=age_s, **open_call(kind, ago_s=20, read_at=context().now - 5))
    decision = first_decision(of, context(tries=0))
    assert isinstance(decision, Park)
    assert 1 < decision.wait_s < 20
    due = shipment(age_s=age_s, **open_call(kind, ago_s=40, read_at=context().now - 30))
    assert first_decision(due, context(tries=0)) == ReadBack(shipment=due)


def test_the_deadline_fails_it() -> None:
    """A shipment without an open call fails at its deadline."""
    late = first_decision(shipment(age_s=48 * HOUR_S), context())
    assert isinstance(late, Fail)
    assert (late.reason, late.message) == ("deadline_passed", "not allocated in time")
    assert isinstance(first_decision(shipment(age_s=2 * HOUR_S), context(deadline_hours=2)), Fail)


def test_no_call_without_enough_time() -> None:
    """A call starts with at least its timeout and a quiet time left; after that the shipment waits for its deadline."""
    left_s = TIMEOUT_S + QUIET_S
    almost, late = shipment(age_s=48 * HOUR_S - left_s), shipment(age_s=48 * HOUR_S - left_s + 1)
    assert first_decision(almost, context()) == Call(shipment=almost)
    assert first_decision(late, context()) == Park(shipment=late, wait_s=left_s - 1)


def test_a_shipment_with_losses() -> None:
    """Two lost workers change nothing; after the third the shipment fails."""
    assert isinstance(first_decision(shipment(losses=MAX_LOSSES - 1), context()), Call)
    lost = first_decision(shipment(losses=MAX_LOSSES), context())
    assert isinstance(lost, Fail)
    assert (lost.reason, lost.message) == ("worker_lost", "lost its worker 3 times")


def test_a_lost_call_is_read_back_before_it_fails() -> None:
    """A shipment with an open call does not fail before a read-back, however many workers it lost."""
    of = shipment(losses=MAX_LOSSES, **OVER)
    assert first_decision(of, context()) == ReadBack(shipment=of)
    assert isinstance(first_decision(shipment(losses=MAX_LOSSES, **open_call(ago_s=10)), context()), ReadBack)


def test_a_shipment_whose_read_back_kills_workers() -> None:
    """When read-backs lose worker after worker the shipment waits, and fails at its deadline with this reason."""
    of = shipment(losses=HOPELESS_LOSSES, **OVER)
    assert first_decision(of, context()) == Park(shipment=of, wait_s=3600)
    almost = shipment(losses=HOPELESS_LOSSES, age_s=48 * HOUR_S - 60, **OVER)
    assert first_decision(almost, context()) == Park(shipment=almost, wait_s=60)
    quiet = shipment(losses=HOPELESS_LOSSES, age_s=48 * HOUR_S, **open_call(ago_s=10))
    assert first_decision(quiet, context()) == Park(shipment=quiet, wait_s=QUIET_S - 10)
    late = first_decision(shipment(losses=HOPELESS_LOSSES, age_s=48 * HOUR_S, **OVER), context())
    assert isinstance(late, Fail)
    assert late.reason == "worker_lost"
    assert late.message == f"lost its worker 6 times{UNREAD}"


@pytest.mark.parametrize("has_key", [True, False])
def test_a_paused_merchants_shipments_wait(has_key: bool) -> None:  # noqa: FBT001  # a row of the table
    """Shipments of a paused merchant are parked, at most until their deadline."""
    for of in (shipment(), shipment(**OVER), shipment(**open_call("queued"))):
        assert paused_decision(of, context(), "no key", has_key=has_key) == Park(shipment=of, wait_s=PAUSED_WAIT_S)
    almost = shipment(age_s=48 * HOUR_S - 60)
    assert paused_decision(almost, context(), "no key", has_key=has_key) == Park(shipment=almost, wait_s=60)
    quiet = shipment(age_s=48 * HOUR_S, **open_call(ago_s=10))
    assert paused_decision(quiet, context(), "no key", has_key=has_key) == Park(shipment=quiet, wait_s=QUIET_S - 10)


def test_a_paused_merchants_shipments_fail_at_their_deadline() -> None:
    """At its deadline the shipment fails as unauthorised; without a key the message names the open call."""
    late = paused_decision(shipment(age_s=48 * HOUR_S), context(), "not allowed", has_key=True)
    assert isinstance(late, Fail)
    assert (late.reason, late.message) == ("unauthorised", "not allowed")
    unread = paused_decision(shipment(age_s=48 * HOUR_S, **OVER), context(), "no key", has_key=False)
    assert isinstance(unread, Fail)
    assert unread.message == "no key" + UNREAD


def test_an_open_call_is_read_back_in_a_pause() -> None:
    """At its deadline a shipment is read back if there is a key: it may be allowed to read although not to call."""
    of = shipment(age_s=48 * HOUR_S, **OVER)
    assert paused_decision(of, context(), "not allowed", has_key=True) == ReadBack(shipment=of)


def test_a_limit_or_breaker_delays_it() -> None:
    """A delayed shipment waits for the given time and a little longer, without an attempt or a fallback."""
    of = shipment(unread=True, attempts=3, waits=4)
    assert held_up(of, context(random=0.0), 10) == Park(shipment=of, wait_s=10)
    assert held_up(of, context(random=0.5), 10) == Park(shipment=of, wait_s=12.5)
    almost = shipment(age_s=48 * HOUR_S - 5)
    assert held_up(almost, context(), 10) == Park(shipment=almost, wait_s=5)
    quiet = shipment(age_s=48 * HOUR_S, **open_call(ago_s=QUIET_S - 5))
    assert held_up(quiet, context(), 10) == Park(shipment=quiet, wait_s=5)


def test_a_delay_ends_at_the_deadline() -> None:
    """A limit or breaker never delays a shipment without an open call beyond its deadline."""
    late = held_up(shipment(age_s=48 * HOUR_S), context(), 10)
    assert isinstance(late, Fail)
    assert (late.reason, late.message) == ("deadline_passed", "not allocated in time")


def test_the_last_read_back_is_waited_for() -> None:
    """An open call waits half a minute longer for a permit to be read back, and only then fails unread."""
    long_over = open_call(ago_s=HOUR_S)
    of = shipment(age_s=48 * HOUR_S, **long_over)
    assert held_up(of, context(random=0.0), 10) == Park(shipment=of, wait_s=10)
    almost = shipment(age_s=48 * HOUR_S + LAST_READ_S - 5, **long_over)
    assert held_up(almost, context(), 10) == Park(shipment=almost, wait_s=5)
    late = held_up(shipment(age_s=48 * HOUR_S + LAST_READ_S, **long_over), context(), 10)
    assert isinstance(late, Fail)
    assert (late.reason, late.message) == ("deadline_passed", "not allocated in time" + UNREAD)


def test_a_rate_limit_may_delay_the_last_read_back() -> None:
    """A limit from the merchant file delays an open call until its read-back is permitted, however late."""
    late = shipment(age_s=49 * HOUR_S, **open_call(ago_s=HOUR_S))
    assert held_up(late, context(random=0.0), 10, by_limit=True) == Park(shipment=late, wait_s=10)
    assert isinstance(held_up(shipment(age_s=49 * HOUR_S), context(), 10, by_limit=True), Fail)


def test_a_cancelled_shipment_of_a_paused_merchant() -> None:
    """It ends without a read-back if no call is open; else it waits for the merchant, or its deadline."""
    cancelled = with_changes(shipment(), {"cancelled": "cancelled by ops: sold twice"})
    decision = paused_decision(cancelled, context(), "no key", has_key=False)
    assert isinstance(decision, Fail)
    assert (decision.reason, decision.message) == ("cancelled_by_operator", "cancelled by ops: sold twice")
    waiting = with_changes(shipment(**open_call()), {"cancelled": "cancelled by ops: sold twice"})
    assert isinstance(paused_decision(waiting, context(), "no key", has_key=False), Park)


@pytest.mark.parametrize(
    ("progress", "ends"),
    [
        ({}, True),
        (open_call(ago_s=3500), False),
        (open_call(ago_s=3700), True),
        (open_call("queued", ago_s=3700), False),
        (open_call("queued", ago_s=90_000), True),
    ],
)
def test_a_cancelled_shipment_without_a_merchant_file(progress: dict[str, Any], *, ends: bool) -> None:
    """It ends unread once no call can take effect any more, by the longest quiet time that a file may state."""
    cancelled = with_changes(shipment(**progress), {"cancelled": "cancelled by ops: sold twice"})
    found = end_unread(cancelled, NOW)
    assert (found is not None) is ends
    assert found is None or found.message.endswith("; it was not read back, as its merchant has no file")
    assert end_unread(shipment(**progress), NOW) is None


def test_a_replayed_shipment_that_cannot_be_read_back() -> None:
    """A call of its first plan may have taken effect: the message of its second failure says that nobody knows."""
    replayed = shipment(age_s=49 * HOUR_S, unread=True)
    decision = paused_decision(replayed, context(), "no key", has_key=False)
    assert isinstance(decision, Fail)
    assert decision.message == "no key; it could not be read back"
