"""Processes under measurement: each leads its own session and is stopped at the end of its context."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.acceptance.system import BIN, ROOT


@contextlib.contextmanager
def started(
    command: Sequence[str], log: Path, more: Mapping[str, str] | None = None, stdout: int | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command with the basic environment variables and `more`; its output goes to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output if stdout is None else stdout,
            stderr=output,
            env=_environment() | dict(more or {}),
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ALLOCATION_", "CELERY_"))}
    return kept | {"PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])}


@contextlib.contextmanager
def running_stub(api_ms: float, log: Path) -> Iterator[tuple[int, str]]:
    """The stub of the API; yields its process and its address."""
    command = [sys.executable, "-m", "tests.perf.bench.stub", "--delay-ms", str(api_ms)]
    with started(command, log, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with process.stdout as output:
            yield process.pid, _address(output)


def _address(output: IO[bytes]) -> str:
    return output.readline().decode().split()[-1]
