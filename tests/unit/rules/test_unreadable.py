"""A shipment whose record this version cannot read: read back, kept, and given up only at its deadline."""

import pytest

from tasks.rules.backoff import PARK_MOST_S
from tasks.rules.decision import Fail, Park, Settle
from tasks.rules.outcome import Finding
from tasks.rules.shipment import Shipment
from tasks.rules.unreadable import UnreadableRecord, after_look, stand_in
from tests.factories.shipments import (
    ALLOCATED,
    ALLOCATION_FAILED,
    GONE,
    HOUR_S,
    NOW,
    QUEUED,
    UNALLOCATED,
    UNKNOWN,
    context,
)

ERROR = "KeyError: 'steps'"


def found(age_s: float) -> Shipment:
    """What is known of a shipment that came in so long ago."""
    return stand_in(UnreadableRecord(merchant="acme", reference="sp_1", received=NOW - age_s, error=ERROR))


def test_what_is_allocated_is_adopted() -> None:
    """At any time: its record does not matter any more."""
    for age_s in (0.0, 49 * HOUR_S):
        of = found(age_s)
        assert after_look(of, ALLOCATED, ERROR, context()) == Settle(shipment=of, allocated=ALLOCATED, adopted=True)


@pytest.mark.parametrize("finding", [UNALLOCATED, ALLOCATION_FAILED, QUEUED, UNKNOWN, GONE, None])
def test_it_waits_for_a_version_that_can_read_it(finding: Finding | None) -> None:
    """Whatever else is found, it is parked for some minutes, and never beyond its deadline."""
    assert after_look(found(0), finding, ERROR, context()) == Park(shipment=found(0), wait_s=PARK_MOST_S)
    almost = found(48 * HOUR_S - 60)
    assert after_look(almost, finding, ERROR, context()) == Park(shipment=almost, wait_s=60)


def test_it_fails_at_its_deadline() -> None:
    """The reason is its own, and the message says what is wrong with the record."""
    decision = after_look(found(48 * HOUR_S), UNALLOCATED, ERROR, context())
    assert isinstance(decision, Fail)
    assert (decision.reason, decision.message) == ("unreadable_record", "its record cannot be read: KeyError: 'steps'")


@pytest.mark.parametrize("finding", [UNKNOWN, QUEUED, None])
def test_it_says_what_could_not_be_read_back(finding: Finding | None) -> None:
    """Without a read-back that says "not allocated" the message tells that it may be allocated."""
    decision = after_look(found(48 * HOUR_S), finding, ERROR, context())
    assert isinstance(decision, Fail)
    assert decision.message.endswith("; it may be allocated and could not be read back")


def test_its_record_stays_as_it_is() -> None:
    """No progress is written over it."""
    assert found(0).progress.as_json() == ""
