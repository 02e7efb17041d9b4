"""The scheduler of beat: one sweep at a time waits in the queue."""

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
from worker.processes.beat import SweepScheduler


@pytest.fixture
def app(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """An application whose sweep is always due."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with application(settings.model_copy(update={"sweep_seconds": 0.001})) as app:
        yield app


@pytest.fixture
def scheduler(app: Celery) -> Iterator[SweepScheduler]:
    """A scheduler whose watch never finds it standing still."""
    scheduler = SweepScheduler(app=app)
    yield scheduler
    scheduler._ticked_at = float("inf")


def tick(app: Celery, scheduler: SweepScheduler) -> None:
    """Turn the clockwork until it has sent a sweep, and then until it has looked at its due entry many times more."""
    deadline = time.monotonic() + 10
    while not depth(app, SWEEPS):
        assert time.monotonic() < deadline, "no sweep was sent"
        scheduler.tick()
    more = time.monotonic() + 50 * app.conf.beat_schedule["sweep"]["schedule"]
    while time.monotonic() < more:
        scheduler.tick()


def test_no_second_sweep_while_one_waits(app: Celery, scheduler: SweepScheduler) -> None:
    """While no worker runs, one sweep waits in the queue, and when it was read the next one is sent."""
    for _ in range(2):
        tick(app, scheduler)
        assert depth(app, SWEEPS) == 1
        assert drain(app, SWEEPS) == [{}]


def test_a_tick_is_a_heartbeat(scheduler: SweepScheduler) -> None:
    """A clockwork that turns is alive to the health check."""
    assert not is_alive("beat")
    scheduler.tick()
    assert is_alive("beat")


def test_a_broker_that_is_away(settings: Settings) -> None:
    """While the broker is away no sweep is sent, and the clockwork goes on."""
    nowhere = settings.model_copy(update={"broker_url": SecretStr(f"redis://127.0.0.1:{free_port()}/1")})
    with application(nowhere, broker_transport_options=AT_ONCE) as app:
        scheduler = SweepScheduler(app=app)
        scheduler.apply_entry(scheduler.schedule["sweep"])
