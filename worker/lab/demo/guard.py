"""Clean up after a demo that was killed, and so could not do it itself.

This file runs as a process of its own and imports the standard library alone, so that it is there at once. It reads
process ids from its standard input, one a line, and the input ends when the demo does.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


class Guard:
    """The demo's side of the guard."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        """`process` runs this file."""
        self._process = process

    def watch(self, pid: int) -> None:
        """Terminate a process and its group if the demo dies."""
        if self._process.stdin is not None:
            self._process.stdin.write(f"{pid}\n".encode())
            self._process.stdin.flush()

    def dismiss(self) -> None:
        """The demo has cleaned up by itself."""
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def guarding(folder: Path, *, keep: bool) -> Iterator[Guard]:
    """A guard within a `with`; it removes the folder too, unless that is to be kept."""
    words = [sys.executable, "-I", "-S", __file__, *([] if keep else [str(folder)])]
    # In its own session, so that Ctrl-C does not reach it.
    guard = Guard(subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True))  # noqa: S603
    try:
        yield guard
    finally:
        guard.dismiss()


def _clean_up(pids: list[int], folders: list[str]) -> None:
    for pid in pids:
        for end in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                end(pid, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _clean_up([int(line) for line in sys.stdin], sys.argv[1:])
