"""A run of `allocation demo` without a terminal, in a temporary folder."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ALLOCATION = str(Path(sys.executable).with_name("allocation"))

# Variables that a machine may have set; the demo ignores them.
REAL = {
    "ALLOCATION_REDIS_URL": "redis://127.0.0.1:1/0",
    "ALLOCATION_ORDERS_STREAM": "real.orders",
    "SENTRY_DSN": "http://key@127.0.0.1:1/1",
    "FORCE_COLOR": "1",
}


@dataclass(kw_only=True, slots=True)
class Run:
    """A running demo and its output; `home` contains all temporary files."""

    process: "subprocess.Popen[str]"
    output: IO[str]
    home: Path
    lines: list[str] = field(default_factory=list)

    def until(self, words: str) -> str:
        """Read until a line contains these words."""
        for line in self.output:
            self.lines.append(line.rstrip("\n"))
            if words in line:
                return line.strip()
        raise AssertionError(f"the demo ended without printing {words!r}:\n{self.text}")

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, if given, and read to the end; returns the exit code."""
        if number:
            self.process.send_signal(number)
        self.lines += self.output.read().splitlines()
        return self.process.wait()

    @property
    def text(self) -> str:
        """The whole output."""
        return "\n".join(self.lines)

    def processes(self) -> dict[int, str]:
        """Live processes of this run, found by their environment; none without /proc."""
        return {int(folder.name): _command(folder) for folder in Path("/proc").glob("[0-9]*") if self._is_ours(folder)}

    def _is_ours(self, folder: Path) -> bool:
        try:
            return f"TMPDIR={self.home}".encode() in (folder / "environ").read_bytes()
        except OSError:  # ended meanwhile, or of another user
            return False

    def left_behind(self) -> list[str]:
        """Files and processes that still exist."""
        return [*map(str, self.home.iterdir()), *self.processes().values()]


def _command(folder: Path) -> str:
    try:
        return (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return "ended"


@contextmanager
def demo(home: Path, *options: str) -> Iterator[Run]:
    """A running demo, terminated at the end of the `with`."""
    environment = {**os.environ, **REAL, "TMPDIR": str(home)}
    with subprocess.Popen(
        [ALLOCATION, "demo", *options],
        cwd=home.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        try:
            yield Run(process=process, output=process.stdout, home=home)
        finally:
            process.terminate()
