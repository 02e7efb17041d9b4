"""The README's path to a first order works line by line."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.system import BIN, ROOT, wait_until
from worker.lab.embedded_server import EmbeddedServer, free_port

REFERENCE = "sp_00802615769404976542730318118912"


def lines() -> list[str]:
    """The shell lines of the section."""
    section = (ROOT / "README.md").read_text().partition("\n## Your first order\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


class Shell:
    """Runs lines one after another in one folder, each with the variables that those before it have exported."""

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        """`ports`: the ports of the page, which may be taken on this machine, and those to use instead."""
        self.folder = folder
        self._ports = ports
        ours = {name: value for name, value in os.environ.items() if not name.startswith("ALLOCATION_")}
        self._environment = {**ours, "PATH": f"{BIN}:{os.environ['PATH']}"}
        self.background: list[subprocess.Popen[bytes]] = []

    def run(self, line: str) -> str:
        """Run a line; its output. A line that ends in `&` stays in the background."""
        command = ["bash", "-c", self._with_ports(line.removesuffix("&"))]
        if line.endswith("&"):
            process = subprocess.Popen(command, cwd=self.folder, env=self._environment, start_new_session=True)
            self.background.append(process)
            return ""
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        for written in (self.folder / ".env", self.folder / "config/merchants/acme.toml"):
            if written.exists():
                written.write_text(self._with_ports(written.read_text()))
        return done.stdout

    def export(self, line: str) -> None:
        """Run a line for the variables that it exports."""
        exported = self.run(f"{line} && env -0").split("\0")
        self._environment = dict(pair.split("=", 1) for pair in exported if pair)

    def _with_ports(self, text: str) -> str:
        for told, used in self._ports.items():
            text = re.sub(rf"\b{told}\b", str(used), text)
        return text


@contextmanager
def shell(folder: Path, ports: dict[str, int]) -> Iterator[Shell]:
    """A shell whose background processes end with it."""
    shell = Shell(folder, ports)
    try:
        yield shell
    finally:
        for process in shell.background:
            os.killpg(process.pid, signal.SIGTERM)
        for process in shell.background:
            process.wait(30)


def allocated(run: Shell, line: str) -> str:
    """The output of `allocation explain` once the shipment is allocated."""
    wait_until(lambda: "allocated at" in run.run(f"{line} || true"), 30, "an allocated shipment")
    return run.run(line)


def test_first_order(tmp_path: Path) -> None:
    """Every line but `make setup` is run as it is there, apart from the ports; the shipment is allocated."""
    (tmp_path / "config/merchants").mkdir(parents=True)
    server = EmbeddedServer(tmp_path / "redis")
    server.start()
    shown = ""
    try:
        with shell(tmp_path, {"6379": server.port, "8700": free_port()}) as run:
            for line in lines():
                if line.startswith(("make ", "export PATH=")):
                    continue
                if line.startswith(("set -a", "export ")):
                    run.export(line)
                elif line.startswith("allocation explain"):
                    shown = allocated(run, line)
                else:
                    run.run(line)
    finally:
        server.kill()
    assert f"{REFERENCE} of acme" in shown
    assert "label    http://127.0.0.1" in shown
