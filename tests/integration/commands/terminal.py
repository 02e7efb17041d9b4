"""Runs a command on a terminal of a given width."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path

_STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def lines_on_terminal(command: list[str], environment: Mapping[str, str], folder: Path, columns: int) -> list[str]:
    """The lines that a command prints on a terminal, without their styles."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        command, env={**environment, "TERM": "xterm"}, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    printed = b""
    try:
        while chunk := os.read(ours, 65536):
            printed += chunk
    except OSError:
        pass  # On Linux, reading fails once the other end is closed.
    process.wait(30)
    os.close(ours)
    return _STYLES.sub("", printed.decode()).replace("\r", "").splitlines()
