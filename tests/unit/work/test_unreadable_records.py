"""Shipments with an unreadable record among others: read back, and otherwise left unchanged."""

from typing import Any

import pytest

from tasks.rules.backoff import PARK_MOST_S
from tasks.rules.unreadable import UnreadableRecord
from tasks.work.ports import Pause, Permit
from tests.factories.batch_run import Trial, several
from tests.factories.merchant_files import SERVICE, V2_API
from tests.factories.shipments import ALLOCATED, HOUR_S, NOW, UNALLOCATED, UNKNOWN
from tests.factories.virtual_clock import play


def unreadable(age_s: float = 0.0) -> tuple[UnreadableRecord, ...]:
    """An unreadable record of the given age."""
    return (UnreadableRecord(merchant="acme", reference="x", received=NOW - age_s, error="KeyError: 'steps'"),)


def test_it_is_read_back_among_others() -> None:
    """The others are worked on; an alert is sent, and the shipment waits for a worker that can read its record."""
    trial = Trial(shipments=several("a"), unreadable=unreadable())
    trial.api.readings["x"] = [UNALLOCATED]
    play(trial.to_the_end())
    assert (trial.api.read, [names for _, names in trial.api.called]) == (["x"], [("a",)])
    last = trial.ledger.last("x")
    assert (last.verdict, last.entry, last.shipment.progress.as_json()) == ("park", None, "")
    assert last.due - NOW == pytest.approx(PARK_MOST_S)
    assert trial.told.unreadable_records == ["x"]
    assert trial.ledger.holders == {}


def test_it_is_adopted() -> None:
    """An allocated one is settled, and the slot of its read-back is returned."""
    trial = Trial(shipments=[], unreadable=unreadable(), file=V2_API + SERVICE + "[limits]\nin_flight = 1\n")
    trial.api.readings["x"] = [ALLOCATED]
    play(trial.to_the_end())
    assert (trial.ledger.last("x").verdict, trial.ledger.on_wire) == ("allocated", set())


@pytest.mark.parametrize("state", [{"key": None}, {"paused": Pause(why="no")}])
def test_a_paused_merchant_is_not_read_back(state: dict[str, Any]) -> None:
    """It waits like the others."""
    trial = Trial(shipments=[], unreadable=unreadable(), **state)
    play(trial.to_the_end())
    assert (trial.api.feedback, trial.ledger.verdicts("x")) == ([], ["park"])


@pytest.mark.parametrize("finding", [UNALLOCATED, UNKNOWN])
def test_it_fails_at_its_deadline(finding: Any) -> None:
    """It fails after one more read-back, as an unreadable record."""
    trial = Trial(shipments=[], unreadable=unreadable(48 * HOUR_S))
    trial.api.readings["x"] = [finding]
    play(trial.to_the_end())
    assert (trial.api.read, trial.ledger.last("x").reason) == (["x"], "unreadable_record")
    assert trial.told.failures == [("x", "unreadable_record")]


def test_another_task_may_own_it() -> None:
    """If another task owns it by now, nothing is written."""
    trial = Trial(shipments=[], unreadable=unreadable())
    trial.ledger.permits["x"] = [Permit(owned=False)]
    batch = play(trial.work())
    assert (trial.ledger.written, batch.owned) == ([], {})
