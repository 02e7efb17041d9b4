"""The drawing of a shipment's history."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.merchant_files.retry import Retry
from tasks.rules.shipment import iso
from tests.factories.shipments import NOW, SERVICE, VIRTUAL, shipment
from worker.ledger.records import Record, Scheduled, Settled, ShipmentState, Working
from worker.processes.flower.timeline import WIDTH, Timeline, timeline

RETRY = Retry(deadline_hours=24)


def call(at_s: float, took_s: float = 0.1, **rest: Any) -> dict[str, Any]:
    """The history entry of a request that began so long after the shipment was received."""
    stated = {"action": "allocate", "strategy": {"virtual_service": "V"}, "outcome": "refused"}
    return {"at": iso(NOW + at_s), **stated, "duration_ms": took_s * 1000, **rest}


def drawn(*entries: Any, where: ShipmentState | None = None, now_s: float = 0.0, first: int = 1) -> Timeline | None:
    """The drawing of these entries, the last ones of their history from this number on."""
    history = tuple(enumerate(entries, first))
    state = where or Settled(state="failed", reason="", at=NOW, event=None)
    facts: dict[str, Any] = {"why": "", "facts": {}, "paused": None, "now": NOW + now_s}
    return timeline(Record(shipment=shipment(VIRTUAL, SERVICE), history=history, where=state, **facts), RETRY)


def drawing(*entries: Any, **rest: Any) -> Timeline:
    """The same, if there is anything to draw."""
    found = drawn(*entries, **rest)
    assert found is not None
    return found


def test_calls_are_to_scale() -> None:
    """Bars begin at their time and are as wide as they lasted; each strategy has its lane, in the order of the plan."""
    found = drawing(call(0, 25), call(75, 25, strategy={"carrier_service": "S"}))
    left = WIDTH - 2 * 7
    assert [(bar.x, bar.width, bar.lane) for bar in found.bars] == [
        (0, 6 + left / 4, 0),
        (pytest.approx(7 + left * 3 / 4), 6 + left / 4, 1),
    ]
    assert found.lanes == ("virtual_service V", "carrier_service S")
    (wait,) = found.spans
    assert (wait.kind, wait.x, wait.title) == ("wait", found.bars[0].width, "50 s without a request")
    assert wait.x + wait.width == pytest.approx(found.bars[1].x)


def test_quiet_time_ends_with_the_next_call() -> None:
    """It is drawn from the end of an open call; the last one reaches to the end of the drawing."""
    found = drawing(call(0, 0, outcome="unknown"), call(50, 0, outcome="unknown"), call(55, 45, action="read"))
    first, second = [span for span in found.spans if span.kind == "quiet"]
    assert first.x == 6
    assert first.x + first.width == pytest.approx(found.bars[1].x)
    assert second.x + second.width == pytest.approx(WIDTH)
    (quiet,) = [span for span in drawing(call(0, 0, outcome="unknown"), call(240, 0)).spans if span.kind == "quiet"]
    assert quiet.width == pytest.approx((WIDTH - 2 * 7) / 4, abs=2)


def test_entries_that_are_not_kept() -> None:
    """They are a gap between the entries around them, not a wait."""
    history = ((1, call(0)), (5, call(10)))
    where = Settled(state="failed", reason="", at=NOW, event=None)
    record = Record(shipment=shipment(), why="", facts={}, history=history, where=where, paused=None, now=NOW)
    found = timeline(record, None)
    assert found is not None
    assert [(span.kind, span.title) for span in found.spans] == [("gap", "3 more, not kept")]


def test_a_call_in_flight() -> None:
    """It lasts until now."""
    working = Working(lease_end=NOW + 60, phase="c", called_at=NOW + 5)
    found = drawing(call(0, 1), where=working, now_s=10)
    assert [bar.kind for bar in found.bars] == ["bar refused", "bar in-flight"]
    assert found.bars[1].x == pytest.approx(7 + (WIDTH - 14) / 2)
    assert found.bars[1].x + found.bars[1].width == pytest.approx(WIDTH - 1)


@pytest.mark.parametrize("entry", ["newer", 7, None, [], {}, {"at": "soon"}, {"at": 5, "action": {}}])
def test_entries_without_a_time(entry: Any) -> None:
    """They are left out; without any other there is no drawing."""
    assert drawn(entry) is None
    assert drawn() is None
    assert len(drawing(entry, call(0)).bars) == 1


@pytest.mark.parametrize("took", ["x", -5, None, float("nan"), float("inf"), [1]])
def test_durations_that_are_none(took: Any) -> None:
    """Such an entry is a short bar."""
    (bar,) = drawing(call(0, duration_ms=took)).bars
    assert bar.width > 0


REQUESTS = st.lists(
    st.tuples(
        st.floats(0, 1e5),
        st.floats(0, 1e4),
        st.sampled_from(["allocated", "unknown", "queued", "refused", "newer"]),
        st.sampled_from(["allocate", "read", "replay"]),
    ),
    min_size=1,
    max_size=60,
)


@given(REQUESTS, st.floats(0, 2e6))
def test_every_bar_is_visible(requests: list[tuple[float, float, str, str]], now_s: float) -> None:
    """Bars keep a minimum width within the drawing and do not hide each other; ticks do not crowd."""
    entries, at_s = list[dict[str, Any]](), 0.0
    for wait_s, took_s, outcome, action in requests:
        entries.append(call(at_s + wait_s, took_s, outcome=outcome, action=action))
        at_s += wait_s + took_s
    found = drawing(*entries, where=Scheduled(due=NOW), now_s=now_s)
    assert all(bar.width >= 6 and bar.x >= 0 and bar.x + bar.width <= WIDTH + 0.1 for bar in found.bars)
    assert all(one.x + one.width < other.x for one, other in pairwise(found.bars))
    assert all(span.width >= 0 for span in found.spans)
    assert 1 <= len(found.ticks) <= 10
    assert all(one.x < other.x for one, other in pairwise(found.ticks))


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e6)), min_size=1, max_size=60))
def test_entries_in_any_order(requests: list[tuple[float, float]]) -> None:
    """Whatever the times of a record are, its drawing has a bar for each entry, inside."""
    found = drawing(*(call(at_s, took_s, outcome="unknown") for at_s, took_s in requests))
    assert len(found.bars) == len(requests)
    assert all(bar.x >= 0 and bar.x + bar.width <= WIDTH + 0.1 for bar in found.bars)
    assert all(span.width >= 0 for span in found.spans)
