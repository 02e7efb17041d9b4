"""How pages write what they show."""

from dataclasses import replace

from tests.factories.readings import ACME
from worker.ledger.shipment_state import Scheduled, Working
from worker.processes.flower.formats import bounds, sparkline, unfinished


def test_a_sparkline_fills_its_box() -> None:
    """The highest value is at the top, 0 at the bottom, the first one at the left, the last one at the right."""
    assert sparkline((0, 2, 1)) == "0,19 60,1 120,10"


def test_a_sparkline_without_any_order_is_flat() -> None:
    """Every value is at the bottom."""
    assert sparkline((0, 0)) == "0,19 120,19"


def test_bounds() -> None:
    """The window, and those limits that the merchant's file has."""
    assert bounds(ACME) == "200; 5 in flight, 2.5 a second"
    assert bounds(replace(ACME, limit_in_flight=0)) == "200; 2.5 a second"
    assert bounds(replace(ACME, limit_in_flight=0, limit_per_second=0.0)) == "200"


def test_unfinished_shipments() -> None:
    """What is waited for."""
    assert unfinished(Working(lease_end=110, phase="", called_at=None), 100) == "working, its lease expires in 10 s"
    assert unfinished(Scheduled(due=142), 100) == "parked, due in 42 s"
    assert unfinished(Scheduled(due=95), 100) == "due for 5 s"
