"""Work that continues after its task has returned: slow calls, late fallbacks, requeued shipments."""

import asyncio

import pytest

from config.celery_options import PATIENCE_S
from tasks.rules.outcome import NotSent
from tasks.work.ports import Permit
from tests.factories.batch_run import BatchRun, make_shipments
from tests.factories.merchant_files import SERVICE, V1_API, V2_API
from tests.factories.scripted_api import Delayed
from tests.factories.shipments import (
    ALLOCATED,
    GROUP,
    HOUR_S,
    NOW,
    REFUSED,
    UNALLOCATED,
    UNKNOWN,
    VIRTUAL,
    open_call,
)
from tests.factories.shipments import SERVICE as STEP
from tests.factories.virtual_clock import run_virtual

EXPIRED = NotSent(reason="permit_expired")


def test_a_task_does_not_wait_for_slow_calls() -> None:
    """After its patience a task returns with what fell back in time; slow calls continue and are settled later."""

    async def work() -> BatchRun:
        run = BatchRun(shipments=make_shipments("a b c", VIRTUAL, GROUP))
        run.api.calls |= {"b": [REFUSED], "c": [Delayed(seconds=30, result=ALLOCATED)]}
        batch = await run.work()
        assert asyncio.get_running_loop().time() == pytest.approx(PATIENCE_S)
        assert [shipment.reference for shipment in run.in_time] == ["b"]
        assert list(batch.owned) == ["c"]
        assert run.running is not None
        await run.running
        assert batch.owned == {}
        return run

    run = run_virtual(work())
    assert run.ledger.when("c") == pytest.approx(30)
    assert run.ledger.verdicts("c") == ["allocated"]


def test_late_fallbacks() -> None:
    """Shipments that fall back after the task returned are passed on at once."""
    short, long = make_shipments("a b", VIRTUAL, GROUP), make_shipments("c", VIRTUAL, STEP, GROUP)
    run = BatchRun(shipments=[*short, *long])
    run.api.calls |= {name: [Delayed(seconds=5.5, result=REFUSED)] for name in ("a", "b", "c")}
    run_virtual(run.run_to_completion())
    assert run.in_time == []
    assert sorted(shipment.reference for shipment in run.late) == ["a", "b", "c"]


def test_a_late_fallback_does_not_wait_for_others() -> None:
    """A late fallback is passed on at once, while other calls are still slow."""
    run = BatchRun(shipments=make_shipments("a b", VIRTUAL, GROUP))
    run.api.calls |= {"a": [Delayed(seconds=2.5, result=REFUSED)], "b": [Delayed(seconds=30, result=ALLOCATED)]}
    run_virtual(run.run_to_completion())
    (handed_on,) = run.fell_back_at
    assert handed_on == pytest.approx(2.5)


async def requeued(run: BatchRun) -> None:
    """Work as long as a task may, then requeue, as a worker does at shutdown."""
    batch = await run.work()
    assert run.running is not None
    run.running.cancel()
    await asyncio.gather(run.running, return_exceptions=True)
    await batch.requeue()
    assert batch.owned == {}
    await asyncio.sleep(HOUR_S)


def test_a_cancelled_call_is_open() -> None:
    """A call that is cancelled counts as an attempt that ended then and is open; the shipment is due at once."""
    run = BatchRun(shipments=make_shipments("a", attempts=1, attempted=0, entries=1))
    run.api.calls["a"] = [Delayed(seconds=30, result=ALLOCATED)]
    run_virtual(requeued(run))
    last = run.ledger.last("a")
    assert last.due == 0  # at once
    progress = last.shipment.progress
    assert progress.open_kind == "unknown"
    assert progress.open_at == pytest.approx(NOW + PATIENCE_S)
    assert (progress.open_calls, progress.attempts, progress.attempted) == (1, 2, 0)
    assert run.ledger.verdicts("a") == ["park"]


def test_a_cancelled_call_may_be_a_repeat() -> None:
    """A call after an open one is counted and logged even if it is cancelled."""
    run = BatchRun(shipments=make_shipments("a", **open_call(ago_s=HOUR_S)))
    run.api.read_backs["a"] = [UNALLOCATED]
    run.api.calls["a"] = [Delayed(seconds=30, result=ALLOCATED)]
    run_virtual(requeued(run))
    assert run.alerts.again == ["a"]
    assert run.ledger.last("a").repeated_calls == 1


def test_a_call_that_was_not_sent_is_not_open() -> None:
    """A shipment that still waited for a permit is requeued unchanged, and no call is made afterwards."""
    run = BatchRun(shipments=make_shipments("a"))
    run.ledger.permits["a"] = [Permit(owned=True, wait_s=20, slot=True)]
    run_virtual(requeued(run))
    assert run.ledger.last("a").slot
    assert run.ledger.last("a").shipment == run.shipments[0]
    assert run.api.called == []


@pytest.mark.parametrize("file", [V2_API + SERVICE, V1_API + SERVICE])
def test_a_call_that_was_not_written_in_time_is_not_open(file: str) -> None:
    """A request whose permit expired was not made; a shipment that waits for another permit is requeued unchanged."""
    run = BatchRun(shipments=make_shipments("a b"), file=file)
    run.api.calls |= {"a": [EXPIRED], "b": [EXPIRED]}
    run.ledger.permits |= {name: [Permit(owned=True), Permit(owned=True, wait_s=20)] for name in ("a", "b")}
    run_virtual(requeued(run))
    assert [run.ledger.last(name).shipment for name in ("a", "b")] == run.shipments


def test_a_cancelled_read_back_is_due_again() -> None:
    """A shipment whose read-back is cancelled is requeued unchanged, and read back by the next task."""
    run = BatchRun(shipments=make_shipments("a"))
    run.api.calls["a"] = [UNKNOWN]
    run.api.read_backs["a"] = [Delayed(seconds=30, result=UNALLOCATED)]
    run_virtual(requeued(run))
    progress = run.ledger.last("a").shipment.progress
    assert progress.open_kind == "unknown"
    assert progress.open_at == pytest.approx(NOW)
    assert (progress.open_calls, progress.attempts, progress.entries) == (1, 1, 1)
    assert run.ledger.verdicts("a") == ["keep", "park"]
    assert len(run.api.called) == 1


def test_only_unfinished_shipments_are_requeued() -> None:
    """Shipments settled in time stay settled."""
    run = BatchRun(shipments=make_shipments("a b"))
    run.api.calls["b"] = [Delayed(seconds=30, result=ALLOCATED)]
    run_virtual(requeued(run))
    assert [run.ledger.verdicts(name) for name in ("a", "b")] == [["allocated"], ["park"]]


def test_a_cancelled_bulk_call_is_open_for_each() -> None:
    """Each shipment of a cancelled bulk call may have been allocated."""
    run = BatchRun(shipments=make_shipments("a b"), file=V1_API + SERVICE)
    run.api.calls["a"] = [Delayed(seconds=30, result=ALLOCATED)]
    run_virtual(requeued(run))
    for name in ("a", "b"):
        assert run.ledger.last(name).shipment.progress.open_kind == "unknown"
        assert run.ledger.verdicts(name) == ["park"]
