"""The watchdog detects a worker that is connected but does not consume."""

from dataclasses import dataclass
from itertools import count

import pytest

from worker.observability.watchdog import LOOK_EVERY_S, STALLED_S, ConsumptionWatchdog


@dataclass
class Worker:
    """A worker's own counters."""

    waiting: int = 1
    received: int = 0
    running: int = 0


@pytest.fixture
def worker() -> Worker:
    """A worker that was just started, with a message in the queue."""
    return Worker()


@pytest.fixture
def progress(worker: Worker) -> ConsumptionWatchdog:
    """The watchdog of a worker."""
    return ConsumptionWatchdog(
        waiting=lambda: worker.waiting, received=lambda: worker.received, running=lambda: worker.running
    )


def later(progress: ConsumptionWatchdog, seconds: float) -> bool:
    """Whether the worker is stalled after some more seconds."""
    progress._looked_at -= seconds
    progress._moved_at -= seconds
    return progress.is_stalled()


def test_messages_are_queued_and_none_is_read(progress: ConsumptionWatchdog) -> None:
    """A worker that reads nothing for a long time, with messages queued and no child busy, is stalled."""
    assert [later(progress, LOOK_EVERY_S + 1) for _ in range(6)] == [False] * 4 + [True] * 2


@pytest.mark.parametrize("sign", ["waiting", "received", "running"])
def test_a_worker_that_makes_progress(progress: ConsumptionWatchdog, worker: Worker, sign: str) -> None:
    """A worker with an empty queue, or that reads, or is busy, is not stalled."""
    changes = {"waiting": (0, 0), "received": (1, 2), "running": (1, 1)}[sign]
    for value in changes:
        setattr(worker, sign, value)
        assert not later(progress, STALLED_S + 1)


def test_the_queue_is_read_rarely() -> None:
    """The queue is read every few seconds, however often progress is checked."""
    looks = count()
    progress = ConsumptionWatchdog(waiting=lambda: next(looks), received=lambda: 0, running=lambda: 0)
    for _ in range(2):
        later(progress, LOOK_EVERY_S)
    for _ in range(10):
        progress.is_stalled()
    assert next(looks) <= 2
