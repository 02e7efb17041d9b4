"""A real server for the whole run, an empty one for every test, and tests that are coroutines."""

import asyncio
import inspect
import os
from collections.abc import Iterator
from typing import Any

import pytest
import redis
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


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the person who runs the tests stay outside."""
    for name in [name for name in os.environ if name.startswith("ALLOCATION_") or name == "SENTRY_DSN"]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """The server that the tests share."""
    with embedded_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def settings(server: EmbeddedServer) -> Settings:
    """Settings for the shared server, which is empty."""
    with redis.Redis(port=server.port) as client:
        client.flushall()
    return Settings(_env_file=None, redis_url=SecretStr(server.url), concurrency=4)


@pytest.fixture
def bench(settings: Settings, runner: asyncio.Runner) -> Iterator[Bench]:
    """An empty ledger."""
    bench = Bench(settings)
    yield bench
    runner.run(bench.close())
