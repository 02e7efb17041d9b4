"""Log lines: no text from outside forges one or steers a terminal, and no key is in any."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
COLOUR = re.compile(r"\x1b\[\d*(;\d+)*m")
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[")


@contextmanager
def talking(stderr: int) -> Iterator[None]:
    """The talker, at work for the length of a `with`, and what it says goes there."""
    talker = subprocess.Popen([sys.executable, "-m", "tests.worker.talker"], cwd=ROOT, stderr=stderr)
    try:
        yield
    finally:
        assert talker.wait(30) == 0


def said_to_a_terminal() -> str:
    """What a terminal gets, with the line ends of a file."""
    ours, theirs = pty.openpty()
    parts = []
    with talking(theirs), os.fdopen(ours, "rb", buffering=0) as terminal:
        os.close(theirs)
        # A terminal ends with an error when nobody holds its other end any more.
        with suppress(OSError):
            while part := terminal.read(4096):
                parts.append(part)
    return b"".join(parts).decode().replace("\r\n", "\n")


def test_lines_in_a_file(tmp_path: Path) -> None:
    """Elsewhere than on a terminal every event is one line of JSON, whatever is in it."""
    with (tmp_path / "log").open("wb") as log, talking(log.fileno()):
        pass
    text = (tmp_path / "log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["event"].partition(" ")[0][:6] for line in lines] == [
        "order_",
        "nested",
        "x\nFORG",
        "messag",
        "named",
        "broken",
        "broken",
    ]
    assert all(letter.isprintable() for letter in text.replace("\n", ""))
    assert "a-key-in-a-variable" not in text


def test_lines_on_a_terminal() -> None:
    """On a terminal there are colours, but nothing unprintable; tracebacks are indented and show no values."""
    text = COLOUR.sub("", said_to_a_terminal())
    lines = text.splitlines()
    assert all(line.isprintable() for line in lines)
    assert sum(bool(TIME.match(line)) for line in lines) == 7
    assert all(TIME.match(line) or line.startswith("  ") for line in lines)
    assert "ValueError" in text
    assert "a-key-in-a-variable" not in text
