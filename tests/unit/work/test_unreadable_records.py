"""Shipments with an unreadable record among others: read back, and otherwise left unchanged."""

from typing import Any

import pytest

from tasks.rules.backoff import PARK_MOST_S
from tasks.rules.unreadable import UnreadableRecord
from tasks.work.ports import Pause, Permit
from tests.factories.batch_run import BatchRun, make_shipments
from tests.factories.merchant_files import SERVICE, V2_API
from tests.factories.shipments import ALLOCATED, HOUR_S, NOW, UNALLOCATED, UNKNOWN
from tests.factories.virtual_clock import run_virtual


def unreadable(age_s: float = 0.0) -> tuple[UnreadableRecord, ...]:
    """An unreadable record of the given age."""
    return (UnreadableRecord(merchant="acme", reference="x", received=NOW - age_s, error="KeyError: 'steps'"),)


def test_it_is_read_back_among_others() -> None:
    """The others are worked on; an alert is sent, and the shipment waits for a worker that can read its record."""
    run = BatchRun(shipments=make_shipments("a"), unreadable=unreadable())
    run.api.read_backs["x"] = [UNALLOCATED]
    run_virtual(run.run_to_completion())
    assert (run.api.read, [names for _, names in run.api.called]) == (["x"], [("a",)])
    last = run.ledger.last("x")
    assert (last.verdict, last.entry, last.shipment.progress.as_json()) == ("park", None, "")
    assert last.due - NOW == pytest.approx(PARK_MOST_S)
    assert run.alerts.unreadable_records == ["x"]
    assert run.ledger.holders == {}


def test_it_is_adopted() -> None:
    """An allocated one is settled, and the slot of its read-back is returned."""
    run = BatchRun(shipments=[], unreadable=unreadable(), file=V2_API + SERVICE + "[limits]\nin_flight = 1\n")
    run.api.read_backs["x"] = [ALLOCATED]
    run_virtual(run.run_to_completion())
    assert (run.ledger.last("x").verdict, run.ledger.in_flight) == ("allocated", set())


@pytest.mark.parametrize("state", [{"key": None}, {"paused": Pause(why="no")}])
def test_a_paused_merchant_is_not_read_back(state: dict[str, Any]) -> None:
    """It waits like the others."""
    run = BatchRun(shipments=[], unreadable=unreadable(), **state)
    run_virtual(run.run_to_completion())
    assert (run.api.requests, run.ledger.verdicts("x")) == ([], ["park"])


@pytest.mark.parametrize("finding", [UNALLOCATED, UNKNOWN])
def test_it_fails_at_its_deadline(finding: Any) -> None:
    """It fails after one more read-back, as an unreadable record."""
    run = BatchRun(shipments=[], unreadable=unreadable(48 * HOUR_S))
    run.api.read_backs["x"] = [finding]
    run_virtual(run.run_to_completion())
    assert (run.api.read, run.ledger.last("x").reason) == (["x"], "unreadable_record")
    assert run.alerts.failures == [("x", "unreadable_record")]


def test_another_task_may_own_it() -> None:
    """If another task owns it by now, nothing is written."""
    run = BatchRun(shipments=[], unreadable=unreadable())
    run.ledger.permits["x"] = [Permit(owned=False)]
    batch = run_virtual(run.work())
    assert (run.ledger.written, batch.owned) == ([], {})
