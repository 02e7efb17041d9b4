"""Tests that are coroutines, and a ledger for them."""

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from pydantic import SecretStr

from config.settings import Settings
from tests.worker.bench import Bench
from worker.server import EmbeddedServer, embedded_server


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
    """The kind of loop that a worker has."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner


@pytest.fixture
def bench(settings: Settings, runner: asyncio.Runner) -> Iterator[Bench]:
    """An empty ledger."""
    bench = Bench(settings)
    yield bench
    runner.run(bench.close())


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server that a test may kill."""
    with embedded_server(tmp_path / "server") as server:
        yield server


@pytest.fixture
def own_bench(own_server: EmbeddedServer, settings: Settings, runner: asyncio.Runner) -> Iterator[Bench]:
    """A ledger on it."""
    bench = Bench(settings.model_copy(update={"redis_url": SecretStr(own_server.url)}))
    yield bench
    runner.run(bench.close())
