"""Runs coroutine tests, and provides ledgers and worker children."""

import asyncio
import gc
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from celery import Celery
from pydantic import SecretStr

from config.settings import Settings
from tests.factories.ledger_harness import Harness
from tests.factories.queues import application
from tests.factories.raw_api import KEY
from worker.carrier_api.client import CarrierApi
from worker.lab.embedded_server import EmbeddedServer, embedded_server
from worker.processes import child as child_module
from worker.processes import claim_loop
from worker.processes.child import ChildRuntime
from worker.processes.merchant_files import MerchantFiles
from worker.processes.rechecks import Rechecks
from worker.processes.siblings import Siblings


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine in the loop of the test's fixtures."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    found: dict[str, Any] = pyfuncitem.funcargs
    found["runner"].run(pyfuncitem.obj(**{name: found[name] for name in inspect.signature(pyfuncitem.obj).parameters}))
    return True


@pytest.fixture(autouse=True)
def runner() -> Iterator[asyncio.Runner]:
    """The kind of event loop that a worker uses."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner


@pytest.fixture
def harness(settings: Settings, runner: asyncio.Runner) -> Iterator[Harness]:
    """An empty ledger."""
    harness = Harness(settings)
    yield harness
    runner.run(harness.close())


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server that a test may kill."""
    with embedded_server(tmp_path / "server") as server:
        yield server


@pytest.fixture
def own_harness(own_server: EmbeddedServer, settings: Settings, runner: asyncio.Runner) -> Iterator[Harness]:
    """A ledger on this server."""
    harness = Harness(settings.model_copy(update={"redis_url": SecretStr(own_server.url)}))
    runner.run(harness.raw.config_set("appendfsync", "always"))
    yield harness
    runner.run(harness.close())


@pytest.fixture
def app(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """An application whose broker is the shared server; the API key is set, and a tenth of a second counts as long."""
    monkeypatch.setenv("CHILD_KEY", KEY)
    monkeypatch.setattr(child_module, "PATIENCE_S", 0.1)
    monkeypatch.setattr(child_module, "DRAIN_S", 0.1)
    monkeypatch.setattr(claim_loop, "IDLE_S", 0.3)
    with application(settings) as app:
        yield app


@pytest.fixture
def child(app: Celery, settings: Settings) -> Iterator[ChildRuntime]:
    """A running child."""
    thresholds = gc.get_threshold()
    child = ChildRuntime(app, settings, Siblings(4))
    yield child
    child.stop()
    gc.set_threshold(*thresholds)


@pytest.fixture
def merchants(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> MerchantFiles:
    """The merchants of the folder; the API key is set."""
    monkeypatch.setenv("CHILD_KEY", KEY)
    return MerchantFiles(harness.settings.merchants_dir, frozenset())


@pytest.fixture
def rechecks(runner: asyncio.Runner, harness: Harness, merchants: MerchantFiles) -> Iterator[Rechecks]:
    """Rechecks with the client of a worker."""

    async def build() -> Rechecks:
        return Rechecks(
            harness.store, harness.ledger, CarrierApi(harness.ledger.now, 30.0), merchants, harness.settings
        )

    rechecks = runner.run(build())
    yield rechecks
    runner.run(rechecks.stop())
    runner.run(rechecks._api.close())
