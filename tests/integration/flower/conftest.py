"""Flower as a process with the operator's pages, and a ledger that they show."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from config.settings import Settings
from tests.integration.commands.cli_harness import PROGRAM, CliHarness
from tests.integration.sandbox.running_sandbox import until
from worker.lab.embedded_server import EmbeddedServer, free_port

LOGIN = ("operator", "flower-password")


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowerServer:
    """A running Flower. `client` has its address and the login. `merchants_dir`: the folder that it reads."""

    client: httpx.Client
    merchants_dir: Path


@contextmanager
def running_flower(
    server: EmbeddedServer, folder: Path, *, command: Sequence[str] = (str(PROGRAM), "flower"), **more: str
) -> Iterator[FlowerServer]:
    """Flower on this server, with these settings more."""
    port = free_port()
    (merchants := folder / "merchants").mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "ALLOCATION_REDIS_URL": server.url,
        "ALLOCATION_MERCHANTS_DIR": str(merchants),
        "ALLOCATION_FLOWER_PORT": str(port),
        "FLOWER_PORT": str(port),
        "ALLOCATION_FLOWER_BASIC_AUTH": ":".join(LOGIN),
        "ACME_KEY": "opens-nothing",
        **more,
    }
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([*command], cwd=folder, env=environment, stdout=log, stderr=log) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=LOGIN, timeout=30) as client,
    ):
        try:
            until(lambda: process.poll() is not None or _responds(client))
            assert process.poll() is None, (folder / "log").read_text()
            yield FlowerServer(client=client, merchants_dir=merchants)
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def flower_server(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlowerServer]:
    """Flower on the shared server, with actions."""
    with running_flower(server, tmp_path_factory.mktemp("flower"), ALLOCATION_FLOWER_ACTIONS="true") as flower:
        yield flower


def _responds(client: httpx.Client) -> bool:
    try:
        return client.get("/healthcheck").is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def cli(settings: Settings, flower_server: FlowerServer, tmp_path: Path) -> CliHarness:
    """An empty ledger, no merchants, and what writes both; Flower shows them."""
    for path in flower_server.merchants_dir.iterdir():
        path.unlink()
    return CliHarness(settings.model_copy(update={"merchants_dir": flower_server.merchants_dir}), tmp_path)


@pytest.fixture
def pages(cli: CliHarness, flower_server: FlowerServer) -> httpx.Client:  # noqa: ARG001  # empties the ledger first
    """A client with a login."""
    return flower_server.client
