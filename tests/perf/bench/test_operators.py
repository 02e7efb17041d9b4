"""The history that the operators' commands are measured on, and the shape of what is measured, never a time."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from tasks.rules.order import Order, Rejection, parse_order
from tests.perf.bench import meters
from tests.perf.bench.counting_cost import nothing_counted, without_counting
from tests.perf.bench.filled_ledger import Content, failed_references, order_text, rejected_text, rounds
from tests.perf.bench.index_cost import without_index
from tests.perf.bench.report import document, text
from tests.perf.bench.rig import BenchError
from tests.perf.bench.scenarios import SCENARIOS
from tests.perf.bench.sizes import FULL, QUICK
from worker.ledger.arguments import ReportRow
from worker.ledger.scripts import ACCEPT

CONTENT = Content(merchants=3, shipments=60, failed=6, rejected=4)
FAILURES = Content(merchants=60, shipments=130, failed=120, rejected=4)
TINY = replace(
    QUICK,
    history=CONTENT,
    command_runs=1,
    accepted=16,
    accepted_at_once=(2,),
    counted=16,
    failures=FAILURES,
    page_rounds=1,
)


def test_rounds_have_every_event_once() -> None:
    """Each shipment has one valid order event of its own, and rejected events are spread over all rounds."""
    content = replace(FULL.history, shipments=12_000, rejected=30)
    events = [event for some in rounds(content) for event in some]
    orders = [order for order in map(parse_order, events) if isinstance(order, Order)]
    settled = [order for order in orders if not order.data.merchant.startswith("unknown")]
    assert len(events) == len(set(events)) == 12_030
    assert len({order.event_id for order in settled}) == len({order.data.order for order in settled}) == 12_000
    assert set(Counter(order.data.merchant for order in settled).values()) == {40}


def test_rejected_events_have_several_reasons() -> None:
    """Three of four are rejected for what they contain, the fourth for its unknown merchant."""
    found = [parse_order(rejected_text(number)) for number in range(4)]
    assert [each.reason for each in found if isinstance(each, Rejection)] == ["bad_json", "bad_envelope", "bad_order"]
    assert isinstance(found[3], Order)
    assert isinstance(parse_order(order_text(1, 3)), Order)


def test_failures_are_the_same_in_every_run() -> None:
    """As many shipments as asked for fail, for many reasons, and always the same ones."""
    found = failed_references(FULL.history)
    assert len(found) == FULL.history.failed
    assert len(set(found.values())) > 10
    assert found == failed_references(FULL.history)


def test_the_accept_script_without_its_index() -> None:
    """Only the lines of the index are left out; a script without them is refused."""
    lines = without_index(ACCEPT.text).splitlines()
    assert [line for line in lines if "index_order" in line or "INDEX" in line] == []
    assert set(lines) < set(ACCEPT.text.splitlines())
    with pytest.raises(BenchError):
        without_index("\n".join(lines))


def test_scripts_without_counting() -> None:
    """Only the lines that count are left out of the accept script, and only the last value of a report's rows."""
    removed = set(ACCEPT.text.splitlines()) - set(without_counting(ACCEPT.text).splitlines())
    assert any("orders_by_minute" in line for line in removed)
    assert [
        line for line in removed if "count" not in line and "orders[" not in line and line.strip() in {"", "end"}
    ] == []
    with pytest.raises(BenchError):
        without_counting(without_counting(ACCEPT.text))
    head, row = ["lease_ms", "keep_s"], list(ReportRow._fields)
    assert nothing_counted([*head, *row, *row]) == [*head, *row[:-1], "", *row[:-1], ""]


@pytest.mark.skipif(not meters.AVAILABLE, reason="the benchmark reads /proc")
def test_commands_costs_and_pages_are_measured() -> None:
    """Commands and pages each have a row and a goal; the index takes memory and commands, and so does counting."""
    parts = list(SCENARIOS["operators"](TINY, []))
    found = json.loads(json.dumps(document(parts)))
    names = [row["command"] for row in found["commands"]]
    pages = [row["page"] for row in found["pages"]]
    assert (len(names), len(pages), len(found["goals"])) == (9, 9, 9 + 9 + 1)
    assert [name for name in pages if name not in text(parts)] == []
    assert [name for name in names if f"allocation {name}" not in text(parts)] == []
    ((memory,), (accept,), (counting,)) = found["memory"], found["accept"], found["counting"]
    assert memory["whole"] > memory["index"] > 0
    assert accept["with_commands"] > accept["without_commands"] > 0
    assert counting["with_commands"] > counting["without_commands"] > 0
    assert counting["worker_us"] > 0
