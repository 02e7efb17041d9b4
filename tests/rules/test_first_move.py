"""The first move of a visit: what stands in the way of a call."""

from typing import Any

import pytest

from tasks.move import (
    HOPELESS_LOSSES,
    MOST_LOSSES,
    PAUSED_WAIT_S,
    Call,
    Fail,
    Park,
    Read,
    first_move,
    held_up,
    paused_move,
)
from tests.rules.made import HOUR_S, NOW, moment, shipment

UNREAD = "; its last call may have gone through and could not be read back"


def test_a_new_shipment_is_called_for() -> None:
    """Nothing stands in the way of the first call, which goes out at once."""
    assert first_move(shipment(), moment()) == Call(shipment=shipment())


@pytest.mark.parametrize("state", [{"doubt": True}, {"queued_at": NOW - 5}, {"unread_refusal": "no"}])
def test_what_must_be_read_is_read_first(state: dict[str, Any]) -> None:
    """What an earlier call left open is read back before anything else, also past the deadline."""
    for age_s in (0.0, 49 * HOUR_S):
        of = shipment(age_s=age_s, **state)
        assert first_move(of, moment()) == Read(shipment=of)


def test_the_deadline_ends_it() -> None:
    """A shipment is called for until its deadline, and fails from then on."""
    almost = shipment(age_s=48 * HOUR_S - 1)
    assert first_move(almost, moment()) == Call(shipment=almost)
    late = first_move(shipment(age_s=48 * HOUR_S), moment())
    assert isinstance(late, Fail)
    assert (late.reason, late.message) == ("deadline_passed", "not allocated in time")
    assert isinstance(first_move(shipment(age_s=2 * HOUR_S), moment(deadline_hours=2)), Fail)


def test_a_shipment_that_loses_its_worker() -> None:
    """Two lost workers change nothing; after the third the shipment fails."""
    assert isinstance(first_move(shipment(losses=MOST_LOSSES - 1), moment()), Call)
    lost = first_move(shipment(losses=MOST_LOSSES), moment())
    assert isinstance(lost, Fail)
    assert (lost.reason, lost.message) == ("worker_lost", "lost its worker 3 times")


def test_a_lost_call_is_read_back_before_it_fails() -> None:
    """A shipment whose call may have gone through does not fail unread, however many workers it lost."""
    of = shipment(losses=MOST_LOSSES, doubt=True)
    assert first_move(of, moment()) == Read(shipment=of)


def test_a_shipment_whose_reading_kills_workers() -> None:
    """When even reading it back loses worker after worker it waits, and fails at its deadline, which is told."""
    of = shipment(losses=HOPELESS_LOSSES, doubt=True)
    assert first_move(of, moment()) == Park(shipment=of, wait_s=3600)
    almost = shipment(losses=HOPELESS_LOSSES, doubt=True, age_s=48 * HOUR_S - 60)
    assert first_move(almost, moment()) == Park(shipment=almost, wait_s=60)
    late = first_move(shipment(losses=HOPELESS_LOSSES, doubt=True, age_s=48 * HOUR_S), moment())
    assert isinstance(late, Fail)
    assert late.reason == "worker_lost"
    assert late.message.endswith(UNREAD)


def test_a_paused_merchants_shipments_wait() -> None:
    """While nothing of a merchant can be called, its shipments are parked, and never beyond their deadline."""
    for of in (shipment(), shipment(doubt=True), shipment(queued_at=NOW)):
        assert paused_move(of, moment(), "no key") == Park(shipment=of, wait_s=PAUSED_WAIT_S)
    almost = shipment(age_s=48 * HOUR_S - 60)
    assert paused_move(almost, moment(), "no key") == Park(shipment=almost, wait_s=60)


def test_a_paused_merchants_shipments_fail_at_their_deadline() -> None:
    """Only at its deadline a paused merchant's shipment fails, as unauthorised, and a doubt is told."""
    late = paused_move(shipment(age_s=48 * HOUR_S), moment(), "no key")
    assert isinstance(late, Fail)
    assert (late.reason, late.message) == ("unauthorised", "no key")
    unread = paused_move(shipment(age_s=48 * HOUR_S, doubt=True), moment(), "no key")
    assert isinstance(unread, Fail)
    assert unread.message == "no key" + UNREAD


def test_a_limit_or_breaker_holds_it_up() -> None:
    """What is held up waits as long as it is told and a little longer, which is no attempt and no step back."""
    of = shipment(doubt=True, attempts=3, waits=4)
    assert held_up(of, moment(random=0.0), 10) == Park(shipment=of, wait_s=10)
    assert held_up(of, moment(random=0.5), 10) == Park(shipment=of, wait_s=12.5)
    almost = shipment(age_s=48 * HOUR_S - 5)
    assert held_up(almost, moment(), 10) == Park(shipment=almost, wait_s=5)


def test_holding_up_ends_at_the_deadline() -> None:
    """A limit or breaker never keeps a shipment beyond its deadline."""
    late = held_up(shipment(age_s=48 * HOUR_S, doubt=True), moment(), 10)
    assert isinstance(late, Fail)
    assert (late.reason, late.message) == ("deadline_passed", "not allocated in time" + UNREAD)
