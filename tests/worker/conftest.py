"""Tests that are coroutines, and a ledger for them."""

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import uvloop

from config.settings import Settings
from tests.worker.bench import Bench


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
