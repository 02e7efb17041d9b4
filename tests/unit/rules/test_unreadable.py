"""A shipment whose record this version cannot read: read back, kept, and failed only at its deadline."""

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
    """The known data of a shipment that was accepted so long ago."""
    return stand_in(UnreadableRecord(merchant="acme", reference="sp_1", received=NOW - age_s, error=ERROR))


def test_an_allocated_shipment_is_adopted() -> None:
    """At any time, as its record is not needed any more."""
    for age_s in (0.0, 49 * HOUR_S):
        of = found(age_s)
        assert after_look(of, ALLOCATED, ERROR, context()) == Settle(shipment=of, allocated=ALLOCATED, adopted=True)


@pytest.mark.parametrize("finding", [UNALLOCATED, ALLOCATION_FAILED, QUEUED, UNKNOWN, GONE, None])
def test_it_waits_for_a_version_that_can_read_it(finding: Finding | None) -> None:
    """For any other finding it is parked for some minutes, at most until its deadline."""
    assert after_look(found(0), finding, ERROR, context()) == Park(shipment=found(0), wait_s=PARK_MOST_S)
    almost = found(48 * HOUR_S - 60)
    assert after_look(almost, finding, ERROR, context()) == Park(shipment=almost, wait_s=60)


def test_it_fails_at_its_deadline() -> None:
    """It has a separate reason, and the message names the problem of the record."""
    decision = after_look(found(48 * HOUR_S), UNALLOCATED, ERROR, context())
    assert isinstance(decision, Fail)
    assert (decision.reason, decision.message) == ("unreadable_record", "its record cannot be read: KeyError: 'steps'")


@pytest.mark.parametrize("finding", [UNKNOWN, QUEUED, None])
def test_the_message_names_an_unread_state(finding: Finding | None) -> None:
    """Without an "unallocated" read-back the message states that the shipment may be allocated."""
    decision = after_look(found(48 * HOUR_S), finding, ERROR, context())
    assert isinstance(decision, Fail)
    assert decision.message.endswith("; it may be allocated and could not be read back")


def test_its_record_is_unchanged() -> None:
    """No progress is written over it."""
    assert found(0).progress.as_json() == ""
