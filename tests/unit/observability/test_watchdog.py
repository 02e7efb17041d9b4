"""Does a worker that is connected also consume?"""

from dataclasses import dataclass
from itertools import count

import pytest

from worker.observability.watchdog import LOOK_EVERY_S, STALLED_S, ConsumptionWatchdog


@dataclass
class Worker:
    """What a worker's own counters say."""

    waiting: int = 1
    received: int = 0
    running: int = 0


@pytest.fixture
def worker() -> Worker:
    """One that was just started, and has a message waiting."""
    return Worker()


@pytest.fixture
def progress(worker: Worker) -> ConsumptionWatchdog:
    """Somebody who watches it."""
    return ConsumptionWatchdog(
        waiting=lambda: worker.waiting, received=lambda: worker.received, running=lambda: worker.running
    )


def later(progress: ConsumptionWatchdog, seconds: float) -> bool:
    """Whether the worker stands still after some seconds more."""
    progress._looked_at -= seconds
    progress._moved_at -= seconds
    return progress.is_stalled()


def test_messages_wait_and_none_is_read(progress: ConsumptionWatchdog) -> None:
    """Who reads nothing for long although messages wait and no child is busy, stands still."""
    assert [later(progress, LOOK_EVERY_S + 1) for _ in range(6)] == [False] * 4 + [True] * 2


@pytest.mark.parametrize("sign", ["waiting", "received", "running"])
def test_a_worker_that_does_its_work(progress: ConsumptionWatchdog, worker: Worker, sign: str) -> None:
    """Who has nothing to read, reads, or is busy, does not stand still."""
    changes = {"waiting": (0, 0), "received": (1, 2), "running": (1, 1)}[sign]
    for value in changes:
        setattr(worker, sign, value)
        assert not later(progress, STALLED_S + 1)


def test_it_does_not_ask_all_the_time() -> None:
    """The queue is looked at every few seconds, however often anybody asks."""
    looks = count()
    progress = ConsumptionWatchdog(waiting=lambda: next(looks), received=lambda: 0, running=lambda: 0)
    for _ in range(2):
        later(progress, LOOK_EVERY_S)
    for _ in range(10):
        progress.is_stalled()
    assert next(looks) <= 2
