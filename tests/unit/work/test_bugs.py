"""A bug in the work on one shipment: it is parked, which is no loss, and the others are not affected."""

from dataclasses import replace

import pytest

from tasks.rules.outcome import Allocated
from tests.factories.batch_run import Trial, several
from tests.factories.merchant_files import SERVICE, V1_API, V2_API
from tests.factories.scripted_api import After
from tests.factories.shipments import GROUP, NOW, REFUSED, UNKNOWN, VIRTUAL
from tests.factories.shipments import SERVICE as STEP
from tests.factories.virtual_clock import play

BUG = RuntimeError("a bug")
NO_TEXT = Allocated(tracking_references=("\ud800",))
"""Half of a surrogate pair, which no event can contain."""

V1 = V1_API + SERVICE


def played(trial: Trial, *bugs: str) -> None:
    """Work to the end, which raises these errors."""
    with pytest.raises(BaseExceptionGroup) as raised:
        play(trial.to_the_end())
    for bug in bugs:
        assert raised.group_contains(RuntimeError, match=bug)


@pytest.mark.parametrize("file", [V2_API + SERVICE, V1])
def test_it_concerns_one_shipment(file: str) -> None:
    """An error for one shipment does not affect the others; the shipment is parked unchanged."""
    trial = Trial(shipments=several("a b c d", STEP, GROUP), file=file)
    trial.api.calls |= {"a": [UNKNOWN], "b": [REFUSED]}
    trial.api.readings["a"] = [BUG]
    played(trial, "a bug")
    assert [trial.ledger.verdicts(name) for name in ("b", "c")] == [["hand"], ["allocated"]]
    assert [shipment.reference for shipment in trial.in_time] == ["b"]
    last = trial.ledger.last("a")
    assert (last.verdict, last.shipment.progress.waits) == ("park", 1)
    assert last.due >= NOW + trial.ledger.when("a") + 0.9
    assert (last.shipment.progress.open_kind, last.shipment.progress.open_calls) == ("unknown", 1)
    assert trial.ledger.holders == {}


def test_it_waits_longer_each_time() -> None:
    """The wait grows with each error."""
    trial = Trial(shipments=several("a", waits=5))
    trial.api.calls["a"] = [BUG]
    played(trial)
    assert trial.ledger.last("a").due >= NOW + 32
    assert trial.ledger.last("a").shipment.progress.waits == 0, "the call that met it is open, which begins anew"


@pytest.mark.parametrize("file", [V2_API + SERVICE, V1])
def test_a_call_that_met_one_is_open(file: str) -> None:
    """The call may have been sent before the error, so it is open, for each shipment of a bulk call."""
    trial = Trial(shipments=several("a b"), file=file)
    trial.api.calls["a"] = [BUG]
    played(trial)
    for name in ("a", "b") if file is V1 else ("a",):
        assert trial.ledger.last(name).shipment.progress.open_kind == "unknown"
        assert trial.ledger.verdicts(name) == ["park"]


def test_it_does_not_stop_slow_calls() -> None:
    """Slow calls continue after an error, and their late fallbacks are passed on."""
    trial = Trial(shipments=several("a b c", VIRTUAL, GROUP))
    trial.api.calls |= {
        "a": [BUG],
        "b": [After(seconds=9, answer=REFUSED)],
        "c": [After(seconds=9, answer=RuntimeError("another"))],
    }
    played(trial, "a bug", "another")
    assert [shipment.reference for shipment in trial.late] == ["b"]


def test_one_in_the_decision_after_a_bulk_call() -> None:
    """An error while deciding for one shipment leaves the bulk call's other shipments settled."""
    trial = Trial(shipments=several("a b c", STEP, GROUP), file=V1)
    trial.api.calls |= {"a": [NO_TEXT], "b": [UNKNOWN], "c": [REFUSED]}
    with pytest.raises(BaseExceptionGroup):
        play(trial.to_the_end())
    assert [trial.ledger.verdicts(name) for name in ("b", "c")] == [["keep", "allocated"], ["hand"]]
    assert trial.ledger.verdicts("a") == ["park"]
    assert trial.ledger.last("a").shipment.progress.open_kind == "unknown"


def test_one_in_the_report() -> None:
    """So does an error while reporting."""
    trial = Trial(shipments=several("a b c"), file=V1)
    trial.api.calls |= {"a": [UNKNOWN], "b": [UNKNOWN]}
    trial.ledger.broken.add("a")
    played(trial, "a bug")
    assert [trial.ledger.verdicts(name) for name in ("a", "b", "c")] == [["park"], ["keep", "allocated"], ["allocated"]]


def test_one_in_the_first_decision() -> None:
    """A shipment without a first decision does not affect the others."""
    broken, good = several("a b")
    trial = Trial(shipments=[replace(broken, steps=()), good])
    with pytest.raises(BaseExceptionGroup) as raised:
        play(trial.to_the_end())
    assert raised.group_contains(IndexError)
    assert [trial.ledger.verdicts(name) for name in ("a", "b")] == [["park"], ["allocated"]]
