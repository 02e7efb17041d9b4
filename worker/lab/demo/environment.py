"""Everything the demo runs, on this machine alone: the server, the simulated API and the processes of the Procfile."""

import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template

from pydantic import SecretStr

from config.settings import Settings
from worker.lab.demo.guard import guarding
from worker.lab.demo.merchants import MERCHANTS
from worker.lab.demo.processes import PROCFILE, SANDBOX, Processes, environment
from worker.lab.embedded_server import embedded_server, free_port
from worker.lab.sandbox.options import Options

FLOWER_PORT = 5555

LOGIN = "demo"
"""User and password of Flower, which listens on loopback. With a login, its pages offer actions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """The environment: its folder, the server, and the processes."""

    folder: Path
    server: str
    processes: Processes
    flower_port: int

    @property
    def merchants(self) -> Path:
        """The folder of the merchant files."""
        return self.folder / "merchants"

    @property
    def flower(self) -> str:
        """Flower's address."""
        return f"http://127.0.0.1:{self.flower_port}"

    @property
    def pages(self) -> str:
        """The address of the operator's pages."""
        return f"{self.flower}/allocation"

    @property
    def settings(self) -> Settings:
        """The settings of the demo itself: its own server, and defaults whatever this machine has set."""
        return Settings.model_construct(redis_url=SecretStr(self.server))

    @property
    def for_another_shell(self) -> dict[str, str]:
        """The settings for further commands to use this server and these merchants."""
        return {"ALLOCATION_REDIS_URL": self.server, "ALLOCATION_MERCHANTS_DIR": str(self.merchants)}

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the processes: short intervals, few children."""
        return environment(
            {
                **self.for_another_shell,
                # Heartbeat files of these processes are in the folder, and removed with it.
                "TMPDIR": str(self.folder),
                "ALLOCATION_SWEEP_SECONDS": "1",
                "ALLOCATION_LEASE_SECONDS": "10",
                "ALLOCATION_CONCURRENCY": "2",
                "ALLOCATION_FLOWER_PORT": str(self.flower_port),
                "ALLOCATION_FLOWER_BASIC_AUTH": f"{LOGIN}:{LOGIN}",
                "ALLOCATION_FLOWER_ACTIONS": "true",
            }
        )

    def start_api(self) -> None:
        """Start the simulated API on a free port."""
        self.processes.start("sandbox", SANDBOX, self.environment)

    def api(self) -> str | None:
        """The address of the simulated API; None until it listens."""
        listening = re.search(r"listening on (\S+)\n", self.processes.output("sandbox"))
        return listening and listening[1]

    def start_processes(self, api: str) -> None:
        """Write the merchant files and start the processes of the Procfile."""
        self._write_merchants(api)
        for name, command in PROCFILE.items():
            self.processes.start(name, command, self.environment)

    def _write_merchants(self, api: str) -> None:
        key = self.folder / "api-key"
        key.write_text(Options().keys[0])
        self.merchants.mkdir()
        for name, text in MERCHANTS.items():
            words = Template(text.lstrip()).substitute(api=api, key=key)
            (self.merchants / f"{name}.toml").write_text(words)


@contextmanager
def stage(*, keep: bool) -> Iterator[Stage]:
    """The environment within a `with`; afterwards only the folder is left, if it is to be kept."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="allocation-demo-"))
        guard = stack.enter_context(guarding(folder, keep=keep))
        if not keep:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server = stack.enter_context(embedded_server(folder / "server"))
        if server.process:
            guard.watch(server.process.pid)
        flower_port = _flower_port(stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)))
        processes = Processes(folder / "logs", guard)
        stack.callback(processes.stop)
        yield Stage(folder=folder, server=server.url, processes=processes, flower_port=flower_port)


def _flower_port(mine: socket.socket) -> int:
    """Flower's default port, or a free one if it is in use.

    Flower needs seconds until it listens. Meanwhile `mine`, a UDP socket of that number, reserves it for other demos.
    """
    try:
        mine.bind(("127.0.0.1", FLOWER_PORT))
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", FLOWER_PORT))
    except OSError:
        return free_port()
    return FLOWER_PORT
