"""Failed starts of processes and commands: one line, and the exit code of invalid settings."""

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.commands.cli_harness import FILE, CliHarness
from worker.lab.embedded_server import EmbeddedServer, free_port

BIN = Path(sys.executable).parent
WORKER = ("celery", "-A", "worker", "worker", "--without-gossip", "--without-mingle")
PROCESSES = {
    "intake": ("allocation", "intake"),
    "worker": WORKER,
    "beat": ("celery", "-A", "worker", "beat"),
    "flower": ("allocation", "flower"),
    "status": ("allocation", "status"),
}
WRONG = {
    "a password": ({"ALLOCATION_REDIS_URL": "redis://:sesame#1@127.0.0.1:1/0"}, b"", "ALLOCATION_REDIS_URL"),
    "a broker": ({"ALLOCATION_BROKER_URL": "amqp://:sesame@127.0.0.1:1//"}, b"", "ALLOCATION_BROKER_URL"),
    "a DSN": ({"SENTRY_DSN": "sesame"}, b"", "SENTRY_DSN"),
    "in the file": ({}, b"ALLOCATION_BATCH=sesame\r\n", "ALLOCATION_BATCH"),
    "the file": ({}, "# ses\u00e4me\n".encode("latin-1"), ".env"),
}


def start(cli: CliHarness, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Start a program in the harness's folder, and wait for its end."""
    return subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        cwd=cli.folder,
        env={**cli.environment, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("process", "wrong"),
    [
        *((process, "a password") for process in PROCESSES),
        *(("worker", wrong) for wrong in WRONG if wrong != "a password"),
    ],
)
def test_invalid_settings(cli: CliHarness, process: str, wrong: str) -> None:
    """Every process and command ends with 2 and one line that names the variable, without any part of its value."""
    stated, written, named = WRONG[wrong]
    (cli.folder / ".env").write_bytes(written)
    done = start(cli, *PROCESSES[process], **stated)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert line.startswith(f"allocation: {named}: ")
    assert "sesame" not in line


@pytest.mark.parametrize("wrong", WRONG)
def test_check_reports_the_same(cli: CliHarness, wrong: str) -> None:
    """`check` reports the errors of the processes, and ends with 1 as for any other problem."""
    stated, written, named = WRONG[wrong]
    (cli.folder / ".env").write_bytes(written)
    cli.merchant()
    done = start(cli, "allocation", "check", **stated)
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if line.startswith("problem: ") and f": {named}: " in line]
    assert "sesame" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_other_pools(cli: CliHarness, pool: str) -> None:
    """A worker refuses other pools than prefork."""
    done = start(cli, *WORKER, f"--pool={pool}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "allocation: --pool: only prefork is supported; remove the option"
    assert "Traceback" not in done.stderr


def test_an_address_of_another_host(cli: CliHarness) -> None:
    """Flower reports an address that it cannot listen on."""
    done = start(cli, "allocation", "flower", ALLOCATION_FLOWER_ADDRESS="192.0.2.1", ALLOCATION_FLOWER_BASIC_AUTH="a:b")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: cannot listen on ALLOCATION_FLOWER_ADDRESS 192.0.2.1, ")
    assert "Traceback" not in done.stderr


def test_a_socket(cli: CliHarness, tmp_path: Path) -> None:
    """A server on a Unix socket is reachable, with its database."""
    server, path = EmbeddedServer(tmp_path / "server"), tmp_path / "redis.sock"
    server.start("--unixsocket", str(path))
    try:
        urls = {"ALLOCATION_REDIS_URL": f"unix://{path}?db=3", "ALLOCATION_BROKER_URL": server.url}
        shown = cli.run("failed", **urls)
    finally:
        server.stop()
    assert (shown.code, shown.err) == (0, "")


def test_intake_ends_while_the_server_is_unavailable(cli: CliHarness) -> None:
    """It waits for a server, but ends on a signal."""
    unavailable = {**cli.environment, "ALLOCATION_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    command = [str(BIN / "allocation"), "intake"]
    with subprocess.Popen(command, cwd=cli.folder, env=unavailable, stderr=subprocess.PIPE, encoding="utf-8") as intake:
        assert intake.stderr
        assert any("intake_interrupted" in line for line in intake.stderr)
        intake.terminate()
        assert intake.wait(30) == 0
        assert "Traceback" not in intake.stderr.read()


class _Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # the library's name
        self.send_response(200 if self.path == "/ops/healthcheck" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def healthy() -> Iterator[int]:
    """The port of a server that responds like Flower below `/ops`."""
    server = http.server.HTTPServer(("127.0.0.1", 0), _Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "0.0.0.0"])  # noqa: S104  # a request to it, not a listener
def test_health_of_flower(cli: CliHarness, healthy: int, address: str) -> None:
    """Flower is checked at its own address, below its prefix, and not through a proxy."""
    settings = {
        "ALLOCATION_FLOWER_ADDRESS": address,
        "ALLOCATION_FLOWER_PORT": str(healthy),
        "ALLOCATION_FLOWER_BASIC_AUTH": "me:sesame",
        "http_proxy": f"http://127.0.0.1:{free_port()}",
        "FLOWER_URL_PREFIX": "/ops/",
    }
    assert cli.run("health", "flower", **settings).out == "flower: alive\n"
    assert cli.run("health", "flower", **{**settings, "FLOWER_URL_PREFIX": ""}).code == 1
    assert cli.run("health", "flower", **{**settings, "ALLOCATION_FLOWER_PORT": str(free_port())}).code == 1


@pytest.mark.parametrize("name", [b"\xff.toml", b"a\x1b[0m.toml", b"a\nb.toml"])
def test_undecodable_file_names(cli: CliHarness, name: bytes) -> None:
    """A merchant file with such a name is a separate problem, printed escaped; everything else works."""
    cli.merchant()
    (cli.settings.merchants_dir / os.fsdecode(name)).write_text(FILE)
    for words in (["check"], ["check", "--json"], ["status"], ["status", "--json"], ["failed"]):
        result = cli.run(*words)
        assert "Traceback" not in result.err, result.err
        assert (result.out + result.err).encode() is not None
    result = cli.run("check")
    assert result.code == 1
    assert "rename it" in result.out


@pytest.mark.parametrize("file", ["tasks.py", "tasks/__init__.py", "config.py"])
@pytest.mark.parametrize("process", ["worker", "beat"])
def test_a_folder_with_modules_of_the_same_names(cli: CliHarness, process: str, file: str) -> None:
    """Celery looks in the working directory first: the message names what hides the project's package."""
    path = cli.folder / file
    path.parent.mkdir(exist_ok=True)
    path.touch()
    done = start(cli, *PROCESSES[process])
    assert done.returncode == 2
    assert f"{path} hides this project's package `{Path(file).parts[0].removesuffix('.py')}`" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Error" not in start(cli, "allocation", "example", "env").stderr
