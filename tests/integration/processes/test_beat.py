"""The scheduler of beat: at most one sweep is queued."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from pydantic import SecretStr

from config.celery_options import SWEEPS
from config.settings import Settings
from tests.factories.queues import AT_ONCE, application, depth, drain
from worker.lab.embedded_server import free_port
from worker.observability.heartbeat import is_alive
from worker.observability.watchdog import Watchdog
from worker.processes.beat import SweepScheduler


@pytest.fixture
def app(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """An application whose sweep is always due."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with application(settings.model_copy(update={"sweep_seconds": 0.001})) as app:
        yield app


@pytest.fixture
def scheduler(app: Celery) -> SweepScheduler:
    """A scheduler whose watchdog never fires, as it would end the test process."""
    scheduler = SweepScheduler(app=app)
    scheduler._watchdog = Watchdog(float("inf"))
    return scheduler


def tick(app: Celery, scheduler: SweepScheduler) -> None:
    """Tick until a sweep is sent, and then until the due entry has been checked many more times."""
    deadline = time.monotonic() + 10
    while not depth(app, SWEEPS):
        assert time.monotonic() < deadline, "no sweep was sent"
        scheduler.tick()
    more = time.monotonic() + 50 * app.conf.beat_schedule["sweep"]["schedule"]
    while time.monotonic() < more:
        scheduler.tick()


def test_no_second_sweep_while_one_is_queued(app: Celery, scheduler: SweepScheduler) -> None:
    """While no worker runs, one sweep is queued; when it has been read, the next one is sent."""
    for _ in range(2):
        tick(app, scheduler)
        assert depth(app, SWEEPS) == 1
        assert drain(app, SWEEPS) == [{}]


def test_a_tick_is_a_heartbeat(scheduler: SweepScheduler) -> None:
    """A scheduler that ticks is alive to the health check."""
    assert not is_alive("beat")
    scheduler.tick()
    assert is_alive("beat")


def test_an_unavailable_broker(settings: Settings) -> None:
    """While the broker is unavailable no sweep is sent, and the scheduler keeps ticking."""
    nowhere = settings.model_copy(update={"broker_url": SecretStr(f"redis://127.0.0.1:{free_port()}/1")})
    with application(nowhere, broker_transport_options=AT_ONCE) as app:
        scheduler = SweepScheduler(app=app)
        scheduler.apply_entry(scheduler.schedule["sweep"])
