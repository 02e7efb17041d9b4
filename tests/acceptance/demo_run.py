"""One run of `allocation demo` without a terminal, in a temporary folder of its own that tells what it left behind."""

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

# What a machine may well have set, and no demo may touch.
REAL = {
    "ALLOCATION_REDIS_URL": "redis://127.0.0.1:1/0",
    "ALLOCATION_ORDERS_STREAM": "real.orders",
    "SENTRY_DSN": "http://key@127.0.0.1:1/1",
    "FORCE_COLOR": "1",
}


@dataclass(kw_only=True, slots=True)
class Run:
    """A demo that runs, and what it has said so far; `home` holds everything temporary."""

    process: "subprocess.Popen[str]"
    output: IO[str]
    home: Path
    lines: list[str] = field(default_factory=list)

    def until(self, words: str) -> str:
        """Read on until a line has these words; the test's time limit ends a wait in vain."""
        for line in self.output:
            self.lines.append(line.rstrip("\n"))
            if words in line:
                return line.strip()
        raise AssertionError(f"the demo ended without saying {words!r}:\n{self.text}")

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, if one is given, and read to the end; returns the exit code."""
        if number:
            self.process.send_signal(number)
        self.lines += self.output.read().splitlines()
        return self.process.wait()

    @property
    def text(self) -> str:
        """All that it said."""
        return "\n".join(self.lines)

    def processes(self) -> dict[int, str]:
        """Living processes of this run, by their environment; none where there is no /proc to ask."""
        return {int(folder.name): _command(folder) for folder in Path("/proc").glob("[0-9]*") if self._is_ours(folder)}

    def _is_ours(self, folder: Path) -> bool:
        try:
            return f"TMPDIR={self.home}".encode() in (folder / "environ").read_bytes()
        except OSError:  # gone meanwhile, or somebody else's
            return False

    def left_behind(self) -> list[str]:
        """Files and processes that are still there."""
        return [*map(str, self.home.iterdir()), *self.processes().values()]


def _command(folder: Path) -> str:
    try:
        return (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return "gone meanwhile"


@contextmanager
def demo(home: Path, *options: str) -> Iterator[Run]:
    """A running demo; ended at the latest with the `with`."""
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
