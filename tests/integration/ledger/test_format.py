"""The ledger's format: set once, and checked by every process."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from config.settings import FormatError, Settings
from tests.factories.ledger_harness import Harness
from worker.lab.embedded_server import EmbeddedServer, free_port
from worker.ledger import keys
from worker.ledger.format import FORMAT, check_format, introduce, stop_if_other
from worker.ledger.scripts import ACCEPT


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that would run for a long time."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def test_scripts_and_processes_agree() -> None:
    """Scripts and Python have the same number."""
    assert f"local FORMAT = {FORMAT}\n" in ACCEPT.text


async def test_an_empty_ledger(harness: Harness) -> None:
    """The first process sets the format."""
    await harness.raw.delete(keys.FORMAT)
    await check_format(harness.redis)
    assert await harness.raw.get(keys.FORMAT) == str(FORMAT).encode()
    await check_format(harness.redis)


async def test_a_read_only_command(harness: Harness) -> None:
    """A read-only command leaves an empty ledger empty, and checks the format like any other."""
    await harness.raw.delete(keys.FORMAT)
    await check_format(harness.redis, note=False)
    assert await harness.raw.get(keys.FORMAT) is None
    await harness.raw.set(keys.FORMAT, FORMAT + 1)
    with pytest.raises(FormatError):
        await check_format(harness.redis, note=False)


async def test_the_first_order_sets_it(harness: Harness) -> None:
    """Accepting the first shipment sets it too, later ones do not."""
    await harness.raw.delete(keys.FORMAT)
    await harness.accept("acme", "a")
    assert await harness.raw.get(keys.FORMAT) == str(FORMAT).encode()
    await harness.raw.set(keys.FORMAT, FORMAT + 1)
    await harness.accept("acme", "b")
    assert await harness.raw.get(keys.FORMAT) == str(FORMAT + 1).encode()


@pytest.mark.parametrize("found", [str(FORMAT + 1), "99", "two"])
async def test_a_newer_one(harness: Harness, found: str) -> None:
    """A process that finds a newer format reports in one line that the newer version must be started."""
    await harness.raw.set(keys.FORMAT, found)
    with pytest.raises(FormatError, match="start the newer version") as error:
        await check_format(harness.redis)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("found", [None, "0"])
async def test_an_older_one(harness: Harness, found: str | None) -> None:
    """A process that finds an older format, or a ledger without one, reports in one line how to migrate."""
    await harness.accept("acme", "a")
    await (harness.raw.delete(keys.FORMAT) if found is None else harness.raw.set(keys.FORMAT, found))
    with pytest.raises(FormatError, match="stop every intake") as error:
        await check_format(harness.redis)
    assert "\n" not in str(error.value)
    assert await harness.raw.get(keys.FORMAT) == (found and found.encode())


async def test_a_starting_process(harness: Harness) -> None:
    """It does not start with a ledger in another format; it does while the server is unavailable."""
    await introduce(harness.settings)
    await harness.raw.set(keys.FORMAT, FORMAT + 1)
    with pytest.raises(FormatError):
        await introduce(harness.settings)
    url = SecretStr(f"redis://127.0.0.1:{free_port()}/0")
    await introduce(harness.settings.model_copy(update={"redis_url": url}))


async def test_a_running_process(harness: Harness, process: "subprocess.Popen[bytes]") -> None:
    """When a newer version migrates the ledger, a running process is terminated; otherwise it is not."""
    await stop_if_other(harness.redis, process.pid)
    assert process.poll() is None
    await harness.raw.set(keys.FORMAT, FORMAT + 1)
    await stop_if_other(harness.redis, process.pid)
    assert process.wait(10) != 0


@pytest.mark.parametrize(
    "words", [("celery", "-A", "worker", "worker"), ("allocation", "intake"), ("allocation", "failed")]
)
def test_the_processes(settings: Settings, server: EmbeddedServer, words: tuple[str, ...]) -> None:
    """Each process and command ends with one line."""
    with redis.Redis(port=server.port) as client:
        client.set(keys.FORMAT, FORMAT + 1)
    folder = Path(sys.executable).parent
    environment = {
        "PATH": f"{folder}:/usr/bin:/bin",
        "ALLOCATION_REDIS_URL": settings.redis_url.get_secret_value(),
        "ALLOCATION_MERCHANTS_DIR": str(settings.merchants_dir),
    }
    command = [str(folder / words[0]), *words[1:]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.count("start the newer version") == 1, done.stderr
    assert "Traceback" not in done.stderr
