"""The processes of the demo: started in sessions of their own, their output kept in files, ended with the demo."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from worker.lab.demo.guard import Guard

PROCFILE = {
    "intake": "allocation intake",
    "worker": "celery -A worker --quiet worker --without-gossip --without-mingle",
    "beat": "celery -A worker --quiet beat",
    "flower": "allocation flower",
}
"""The commands of the Procfile, which an installed package does not have."""

SANDBOX = "allocation sandbox --port 0"

STOP_S = 8.0
"""How long a process may take to exit before it is killed."""

_OTHERS = ("ALLOCATION_", "CELERY_", "FLOWER_", "SENTRY_")


class ProcessEndedError(Exception):
    """A process of the demo exited; the message names it."""


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of the processes, with these settings instead of those of this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**kept, **settings, "PATH": path}


@dataclass(kw_only=True, slots=True)
class _Process:
    name: str
    popen: "subprocess.Popen[bytes]"
    log: Path
    shown: int = 0

    def fresh(self) -> list[str]:
        """The lines written since the last time."""
        with self.log.open("rb") as file:
            file.seek(self.shown)
            whole = file.read().rpartition(b"\n")[0]
        self.shown += len(whole) + bool(whole)
        return whole.decode(errors="replace").splitlines()

    def end(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, number)


class Processes:
    """What was started, in this order."""

    def __init__(self, folder: Path, guard: Guard) -> None:
        """Output goes to `folder`, which is also the working directory: no `.env` of a project is read there."""
        self._folder = folder
        self._guard = guard
        self._started: list[_Process] = []
        folder.mkdir()

    def start(self, name: str, command: str, environment: Mapping[str, str]) -> None:
        """Start a command; `name` is for its output."""
        log = self._log(name)
        with log.open("wb") as output:
            popen = subprocess.Popen(  # noqa: S603  # one of the commands above
                command.split(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self._folder,
                start_new_session=True,
            )
        self._guard.watch(popen.pid)
        self._started.append(_Process(name=name, popen=popen, log=log))

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def output(self, name: str) -> str:
        """All that a process has written."""
        return self._log(name).read_text(errors="replace")

    def check(self) -> None:
        """Raise ProcessEndedError if one of them has exited."""
        for process in self._started:
            if (code := process.popen.poll()) is not None:
                raise ProcessEndedError(f"{process.name} ended by itself, with exit code {code}")

    def fresh_lines(self) -> Iterator[tuple[str, str]]:
        """The name of the process and the line, for all output since the last time."""
        for process in self._started:
            yield from ((process.name, line) for line in process.fresh())

    def last_lines(self, most: int) -> Iterator[tuple[str, str]]:
        """The last lines of each process."""
        for process in self._started:
            yield from ((process.name, line) for line in self.output(process.name).splitlines()[-most:])

    def stop(self) -> None:
        """Stop all of them, the last one first."""
        for process in reversed(self._started):
            # A worker stops its children itself.
            process.popen.terminate()
        deadline = time.monotonic() + STOP_S
        for process in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.popen.wait(max(0.0, deadline - time.monotonic()))
            process.end(signal.SIGKILL)
            process.popen.wait()
