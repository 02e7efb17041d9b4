"""How processes and commands begin, or do not: one line, and the exit code of wrong settings."""

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.commands.cli_harness import FILE, Scene
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


def start(scene: Scene, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Start a program in the scene's folder, and wait for its end."""
    return subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        cwd=scene.folder,
        env={**scene.environment, **environment},
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
def test_wrong_settings(scene: Scene, process: str, wrong: str) -> None:
    """Every process and command ends with 2 and one line that names the variable, and no part of its value."""
    stated, written, named = WRONG[wrong]
    (scene.folder / ".env").write_bytes(written)
    done = start(scene, *PROCESSES[process], **stated)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert line.startswith(f"allocation: {named}: ")
    assert "sesame" not in line


@pytest.mark.parametrize("wrong", WRONG)
def test_check_says_the_same(scene: Scene, wrong: str) -> None:
    """`check` finds what the processes would, and ends with 1 as for any other problem."""
    stated, written, named = WRONG[wrong]
    (scene.folder / ".env").write_bytes(written)
    scene.merchant()
    done = start(scene, "allocation", "check", **stated)
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if line.startswith("problem: ") and f": {named}: " in line]
    assert "sesame" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_other_pools(scene: Scene, pool: str) -> None:
    """A worker is refused another pool than the one that it is made for."""
    done = start(scene, *WORKER, f"--pool={pool}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "allocation: --pool: only prefork is supported; remove the option"
    assert "Traceback" not in done.stderr


def test_an_address_of_another_machine(scene: Scene) -> None:
    """Flower says where it cannot listen."""
    done = start(
        scene, "allocation", "flower", ALLOCATION_FLOWER_ADDRESS="192.0.2.1", ALLOCATION_FLOWER_BASIC_AUTH="a:b"
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: cannot listen on ALLOCATION_FLOWER_ADDRESS 192.0.2.1, ")
    assert "Traceback" not in done.stderr


def test_a_socket(scene: Scene, tmp_path: Path) -> None:
    """A server that listens on a socket of the machine is reached by it, with its database."""
    server, path = EmbeddedServer(tmp_path / "server"), tmp_path / "redis.sock"
    server.start("--unixsocket", str(path))
    try:
        urls = {"ALLOCATION_REDIS_URL": f"unix://{path}?db=3", "ALLOCATION_BROKER_URL": server.url}
        shown = scene.run("failed", **urls)
    finally:
        server.stop()
    assert (shown.code, shown.err) == (0, "")


def test_intake_ends_while_the_server_is_away(scene: Scene) -> None:
    """It waits for a server, and not when it is told to end."""
    away = {**scene.environment, "ALLOCATION_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    command = [str(BIN / "allocation"), "intake"]
    with subprocess.Popen(command, cwd=scene.folder, env=away, stderr=subprocess.PIPE, encoding="utf-8") as intake:
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
        """Nothing."""


@pytest.fixture
def healthy() -> Iterator[int]:
    """Something that answers as Flower does below `/ops`; its port."""
    server = http.server.HTTPServer(("127.0.0.1", 0), _Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "0.0.0.0"])  # noqa: S104  # asked, not listened to
def test_health_of_flower(scene: Scene, healthy: int, address: str) -> None:
    """Flower is asked where it listens, below its prefix, and not by way of a proxy."""
    settings = {
        "ALLOCATION_FLOWER_ADDRESS": address,
        "ALLOCATION_FLOWER_PORT": str(healthy),
        "ALLOCATION_FLOWER_BASIC_AUTH": "me:sesame",
        "http_proxy": f"http://127.0.0.1:{free_port()}",
        "FLOWER_URL_PREFIX": "/ops/",
    }
    assert scene.run("health", "flower", **settings).out == "flower: alive\n"
    assert scene.run("health", "flower", **{**settings, "FLOWER_URL_PREFIX": ""}).code == 1
    assert scene.run("health", "flower", **{**settings, "ALLOCATION_FLOWER_PORT": str(free_port())}).code == 1


@pytest.mark.parametrize("name", [b"\xff.toml", b"a\x1b[0m.toml", b"a\nb.toml"])
def test_names_of_files_that_no_text_can_hold(scene: Scene, name: bytes) -> None:
    """A merchant file with such a name is a problem of its own, said readably; nothing else stands still."""
    scene.merchant()
    (scene.settings.merchants_dir / os.fsdecode(name)).write_text(FILE)
    for words in (["check"], ["check", "--json"], ["status"], ["status", "--json"], ["failed"]):
        said = scene.run(*words)
        assert "Traceback" not in said.err, said.err
        assert (said.out + said.err).encode() is not None
    said = scene.run("check")
    assert said.code == 1
    assert "rename it" in said.out
