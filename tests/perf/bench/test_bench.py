"""Runs a small benchmark and checks the shape of its output, never a time."""

import json
from dataclasses import replace

import pytest

from tests.perf.bench import meters
from tests.perf.bench.contenders import OURS
from tests.perf.bench.measure import Row
from tests.perf.bench.report import document, text
from tests.perf.bench.scenarios import SCENARIOS
from tests.perf.bench.sizes import QUICK

TINY = replace(QUICK, warm_s=0.01, burst_s=0.01, most_orders=50, lone=3)


@pytest.mark.skipif(not meters.AVAILABLE, reason="needs /proc, which only Linux has: the benchmark reads it")
def test_a_row_has_every_figure() -> None:
    """A run with this project alone returns one row of figures with the related goals, and the same as text."""
    parts = list(SCENARIOS["api-0"](TINY, [OURS.name]))
    found = json.loads(json.dumps(document(parts)))
    (row,) = found["rows"]
    assert row.keys() == set(Row.__slots__)
    assert (row["system"], row["orders"], row["calls_per_order"]) == ("allocation", 50, 1.0)
    assert [name for name, figure in row.items() if name != "system" and not isinstance(figure, int | float)] == []
    assert {goal["name"] for goal in found["goals"]} >= {"CPU per order, one shipment a call"}
    assert found["idle"] == []
    assert "allocation" in text(parts)
