"""Work that continues after its task has returned: slow calls, late fallbacks, requeued shipments."""

import asyncio

import pytest

from config.celery_options import PATIENCE_S
from tasks.rules.outcome import NotSent
from tasks.work.ports import Permit
from tests.factories.batch_run import Trial, several
from tests.factories.merchant_files import SERVICE, V1_API, V2_API
from tests.factories.scripted_api import After
from tests.factories.shipments import (
    ALLOCATED,
    GROUP,
    HOUR_S,
    NOW,
    REFUSED,
    UNALLOCATED,
    UNKNOWN,
    VIRTUAL,
    opened,
)
from tests.factories.shipments import SERVICE as STEP
from tests.factories.virtual_clock import play

EXPIRED = NotSent(reason="permit_expired")


def test_a_task_does_not_wait_for_slow_calls() -> None:
    """After its patience a task returns with what fell back in time; slow calls continue and are settled later."""

    async def work() -> Trial:
        trial = Trial(shipments=several("a b c", VIRTUAL, GROUP))
        trial.api.calls |= {"b": [REFUSED], "c": [After(seconds=30, answer=ALLOCATED)]}
        batch = await trial.work()
        assert asyncio.get_running_loop().time() == pytest.approx(PATIENCE_S)
        assert [shipment.reference for shipment in trial.in_time] == ["b"]
        assert list(batch.owned) == ["c"]
        assert trial.running is not None
        await trial.running
        assert batch.owned == {}
        return trial

    trial = play(work())
    assert trial.ledger.when("c") == pytest.approx(30)
    assert trial.ledger.verdicts("c") == ["allocated"]


def test_late_fallbacks() -> None:
    """Shipments that fall back after the task returned are passed on at once."""
    short, long = several("a b", VIRTUAL, GROUP), several("c", VIRTUAL, STEP, GROUP)
    trial = Trial(shipments=[*short, *long])
    trial.api.calls |= {name: [After(seconds=5.5, answer=REFUSED)] for name in ("a", "b", "c")}
    play(trial.to_the_end())
    assert trial.in_time == []
    assert sorted(shipment.reference for shipment in trial.late) == ["a", "b", "c"]


def test_a_late_fallback_does_not_wait_for_others() -> None:
    """A late fallback is passed on at once, while other calls are still slow."""
    trial = Trial(shipments=several("a b", VIRTUAL, GROUP))
    trial.api.calls |= {"a": [After(seconds=2.5, answer=REFUSED)], "b": [After(seconds=30, answer=ALLOCATED)]}
    play(trial.to_the_end())
    (handed_on,) = trial.late_at
    assert handed_on == pytest.approx(2.5)


async def given_up(trial: Trial) -> None:
    """Work as long as a task may, then requeue, as a worker does at shutdown."""
    batch = await trial.work()
    assert trial.running is not None
    trial.running.cancel()
    await asyncio.gather(trial.running, return_exceptions=True)
    await batch.requeue()
    assert batch.owned == {}
    await asyncio.sleep(HOUR_S)


def test_a_cancelled_call_is_open() -> None:
    """A call that is cancelled counts as an attempt that ended then and is open; the shipment is due at once."""
    trial = Trial(shipments=several("a", attempts=1, attempted=0, entries=1))
    trial.api.calls["a"] = [After(seconds=30, answer=ALLOCATED)]
    play(given_up(trial))
    last = trial.ledger.last("a")
    assert last.due == 0  # at once
    progress = last.shipment.progress
    assert progress.open_kind == "unknown"
    assert progress.open_at == pytest.approx(NOW + PATIENCE_S)
    assert (progress.open_calls, progress.attempts, progress.attempted) == (1, 2, 0)
    assert trial.ledger.verdicts("a") == ["park"]


def test_a_cancelled_call_may_have_asked_again() -> None:
    """A call after an open one is counted and logged even if it is cancelled."""
    trial = Trial(shipments=several("a", **opened(ago_s=HOUR_S)))
    trial.api.readings["a"] = [UNALLOCATED]
    trial.api.calls["a"] = [After(seconds=30, answer=ALLOCATED)]
    play(given_up(trial))
    assert trial.told.again == ["a"]
    assert trial.ledger.last("a").repeated_calls == 1


def test_a_call_that_was_not_sent_is_not_open() -> None:
    """A shipment that still waited for a permit is requeued unchanged, and no call is made afterwards."""
    trial = Trial(shipments=several("a"))
    trial.ledger.permits["a"] = [Permit(owned=True, wait_s=20, slot=True)]
    play(given_up(trial))
    assert trial.ledger.last("a").slot
    assert trial.ledger.last("a").shipment == trial.shipments[0]
    assert trial.api.called == []


@pytest.mark.parametrize("file", [V2_API + SERVICE, V1_API + SERVICE])
def test_a_call_that_was_not_written_in_time_is_not_open(file: str) -> None:
    """A request whose permit expired was not made; a shipment that waits for another permit is requeued unchanged."""
    trial = Trial(shipments=several("a b"), file=file)
    trial.api.calls |= {"a": [EXPIRED], "b": [EXPIRED]}
    trial.ledger.permits |= {name: [Permit(owned=True), Permit(owned=True, wait_s=20)] for name in ("a", "b")}
    play(given_up(trial))
    assert [trial.ledger.last(name).shipment for name in ("a", "b")] == trial.shipments


def test_a_cancelled_read_back_is_due_again() -> None:
    """A shipment whose read-back is cancelled is requeued unchanged, and read back by the next task."""
    trial = Trial(shipments=several("a"))
    trial.api.calls["a"] = [UNKNOWN]
    trial.api.readings["a"] = [After(seconds=30, answer=UNALLOCATED)]
    play(given_up(trial))
    progress = trial.ledger.last("a").shipment.progress
    assert progress.open_kind == "unknown"
    assert progress.open_at == pytest.approx(NOW)
    assert (progress.open_calls, progress.attempts, progress.entries) == (1, 1, 1)
    assert trial.ledger.verdicts("a") == ["keep", "park"]
    assert len(trial.api.called) == 1


def test_only_unfinished_shipments_are_requeued() -> None:
    """Shipments settled in time stay settled."""
    trial = Trial(shipments=several("a b"))
    trial.api.calls["b"] = [After(seconds=30, answer=ALLOCATED)]
    play(given_up(trial))
    assert [trial.ledger.verdicts(name) for name in ("a", "b")] == [["allocated"], ["park"]]


def test_a_cancelled_bulk_call_is_open_for_each() -> None:
    """Each shipment of a cancelled bulk call may have been allocated."""
    trial = Trial(shipments=several("a b"), file=V1_API + SERVICE)
    trial.api.calls["a"] = [After(seconds=30, answer=ALLOCATED)]
    play(given_up(trial))
    for name in ("a", "b"):
        assert trial.ledger.last(name).shipment.progress.open_kind == "unknown"
        assert trial.ledger.verdicts(name) == ["park"]
