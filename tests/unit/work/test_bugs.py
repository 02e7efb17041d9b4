"""A bug in the work on one shipment: it is parked, which is no loss, and the others are not affected."""

from dataclasses import replace

import pytest

from tasks.rules.outcome import Allocated
from tests.factories.batch_run import BatchRun, make_shipments
from tests.factories.merchant_files import SERVICE, V1_API, V2_API
from tests.factories.scripted_api import Delayed
from tests.factories.shipments import GROUP, NOW, REFUSED, UNKNOWN, VIRTUAL
from tests.factories.shipments import SERVICE as STEP
from tests.factories.virtual_clock import run_virtual

BUG = RuntimeError("a bug")
NO_TEXT = Allocated(tracking_references=("\ud800",))
"""Half of a surrogate pair, which no event can contain."""

V1 = V1_API + SERVICE


def errors_of(run: BatchRun, *bugs: str) -> None:
    """Work to the end, which raises these errors."""
    with pytest.raises(BaseExceptionGroup) as raised:
        run_virtual(run.run_to_completion())
    for bug in bugs:
        assert raised.group_contains(RuntimeError, match=bug)


@pytest.mark.parametrize("file", [V2_API + SERVICE, V1])
def test_it_concerns_one_shipment(file: str) -> None:
    """An error for one shipment does not affect the others; the shipment is parked unchanged."""
    run = BatchRun(shipments=make_shipments("a b c d", STEP, GROUP), file=file)
    run.api.calls |= {"a": [UNKNOWN], "b": [REFUSED]}
    run.api.read_backs["a"] = [BUG]
    errors_of(run, "a bug")
    assert [run.ledger.verdicts(name) for name in ("b", "c")] == [["hand"], ["allocated"]]
    assert [shipment.reference for shipment in run.in_time] == ["b"]
    last = run.ledger.last("a")
    assert (last.verdict, last.shipment.progress.waits) == ("park", 1)
    assert last.due >= NOW + run.ledger.when("a") + 0.9
    assert (last.shipment.progress.open_kind, last.shipment.progress.open_calls) == ("unknown", 1)
    assert run.ledger.holders == {}


def test_it_waits_longer_each_time() -> None:
    """The wait grows with each error."""
    run = BatchRun(shipments=make_shipments("a", waits=5))
    run.api.calls["a"] = [BUG]
    errors_of(run)
    assert run.ledger.last("a").due >= NOW + 32
    assert run.ledger.last("a").shipment.progress.waits == 0, "the call is open, which resets the waits"


@pytest.mark.parametrize("file", [V2_API + SERVICE, V1])
def test_a_call_that_met_one_is_open(file: str) -> None:
    """The call may have been sent before the error, so it is open, for each shipment of a bulk call."""
    run = BatchRun(shipments=make_shipments("a b"), file=file)
    run.api.calls["a"] = [BUG]
    errors_of(run)
    for name in ("a", "b") if file is V1 else ("a",):
        assert run.ledger.last(name).shipment.progress.open_kind == "unknown"
        assert run.ledger.verdicts(name) == ["park"]


def test_it_does_not_stop_slow_calls() -> None:
    """Slow calls continue after an error, and their late fallbacks are passed on."""
    run = BatchRun(shipments=make_shipments("a b c", VIRTUAL, GROUP))
    run.api.calls |= {
        "a": [BUG],
        "b": [Delayed(seconds=9, result=REFUSED)],
        "c": [Delayed(seconds=9, result=RuntimeError("another"))],
    }
    errors_of(run, "a bug", "another")
    assert [shipment.reference for shipment in run.late] == ["b"]


def test_one_in_the_decision_after_a_bulk_call() -> None:
    """An error while deciding for one shipment leaves the bulk call's other shipments settled."""
    run = BatchRun(shipments=make_shipments("a b c", STEP, GROUP), file=V1)
    run.api.calls |= {"a": [NO_TEXT], "b": [UNKNOWN], "c": [REFUSED]}
    with pytest.raises(BaseExceptionGroup):
        run_virtual(run.run_to_completion())
    assert [run.ledger.verdicts(name) for name in ("b", "c")] == [["keep", "allocated"], ["hand"]]
    assert run.ledger.verdicts("a") == ["park"]
    assert run.ledger.last("a").shipment.progress.open_kind == "unknown"


def test_one_in_the_report() -> None:
    """So does an error while reporting."""
    run = BatchRun(shipments=make_shipments("a b c"), file=V1)
    run.api.calls |= {"a": [UNKNOWN], "b": [UNKNOWN]}
    run.ledger.broken.add("a")
    errors_of(run, "a bug")
    assert [run.ledger.verdicts(name) for name in ("a", "b", "c")] == [["park"], ["keep", "allocated"], ["allocated"]]


def test_one_in_the_first_decision() -> None:
    """A shipment without a first decision does not affect the others."""
    broken, good = make_shipments("a b")
    run = BatchRun(shipments=[replace(broken, steps=()), good])
    with pytest.raises(BaseExceptionGroup) as raised:
        run_virtual(run.run_to_completion())
    assert raised.group_contains(IndexError)
    assert [run.ledger.verdicts(name) for name in ("a", "b")] == [["park"], ["allocated"]]
