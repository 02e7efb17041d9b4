"""A Redis server for the whole run, and settings that use it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from config.settings import Settings
from worker.lab.embedded_server import EmbeddedServer, embedded_server
from worker.ledger.format import FORMAT


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """The server shared by all tests."""
    with embedded_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def settings(server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings for the shared server, emptied, and an empty folder of merchant files."""
    for name in [name for name in os.environ if name.startswith("ALLOCATION_") or name == "SENTRY_DSN"]:
        monkeypatch.delenv(name)
    with redis.Redis(port=server.port) as client:
        client.flushall()
        client.set("allocation:format", FORMAT)
    merchants = tmp_path / "merchants"
    merchants.mkdir()
    return Settings(_env_file=None, redis_url=SecretStr(server.url), merchants_dir=merchants, concurrency=4)
