"""The watchdogs: no progress for too long, or messages that wait while none is received."""

from dataclasses import dataclass

import pytest

from worker.observability.watchdog import CONSUMER_STALLED_S, LOOK_EVERY_S, STALLED_S, ConsumptionWatchdog, Watchdog


@dataclass
class Worker:
    """A worker's counters and its clock; a message waits from the start."""

    waiting: int = 1
    received: int = 0
    running: int = 0
    now: float = 0.0
    depth_requests: int = 0

    def depth(self) -> int:
        """The depth of its queue; counts the requests for it."""
        self.depth_requests += 1
        return self.waiting


@pytest.fixture
def worker() -> Worker:
    """A worker that has just been started."""
    return Worker()


@pytest.fixture
def watchdog(worker: Worker) -> ConsumptionWatchdog:
    """Its watchdog, which has looked once."""
    found = ConsumptionWatchdog(
        waiting=worker.depth, received=lambda: worker.received, running=lambda: worker.running, now=lambda: worker.now
    )
    assert not found.is_stalled()
    return found


def test_no_progress(worker: Worker) -> None:
    """A process is stalled once its last progress is too long ago."""
    watchdog = Watchdog(now=lambda: worker.now)
    worker.now = STALLED_S
    assert not watchdog.is_stalled()
    worker.now = STALLED_S + 1
    assert watchdog.is_stalled()
    watchdog.progress()
    assert not watchdog.is_stalled()


def test_messages_wait_and_none_is_received(watchdog: ConsumptionWatchdog, worker: Worker) -> None:
    """A worker is stalled if it receives nothing for long although messages wait and no child is busy."""
    found = []
    for _ in range(6):
        worker.now += LOOK_EVERY_S + 1
        found.append(watchdog.is_stalled())
    assert found == [False] * 3 + [True] * 3


@pytest.mark.parametrize(("sign", "values"), [("waiting", (0, 0)), ("received", (1, 2)), ("running", (1, 1))])
def test_a_working_worker(watchdog: ConsumptionWatchdog, worker: Worker, sign: str, values: tuple[int, int]) -> None:
    """A worker that has nothing to receive, receives messages, or is busy, is not stalled."""
    for value in values:
        setattr(worker, sign, value)
        worker.now += CONSUMER_STALLED_S + 1
        assert not watchdog.is_stalled()


def test_the_depth_is_requested_rarely(watchdog: ConsumptionWatchdog, worker: Worker) -> None:
    """The queue is inspected at intervals, however often the watchdog is called."""
    for _ in range(100):
        worker.now += LOOK_EVERY_S / 10
        watchdog.is_stalled()
    assert worker.depth_requests <= 11
