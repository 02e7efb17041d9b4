"""Log lines: text from outside cannot forge one or control a terminal, and none contains a key."""

import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import redis
from billiard.exceptions import RestartFreqExceeded, TimeLimitExceeded, WorkerLostError
from kombu.exceptions import ConnectionLimitExceeded, OperationalError

from worker.observability.logs import _in_one_line, _Repeats

ROOT = Path(__file__).parents[3]
COLOUR = re.compile(r"\x1b\[\d*(;\d+)*m")
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[")


@contextmanager
def log_process(stderr: int) -> Iterator[None]:
    """Run the log process for the length of a `with`; its output goes to the given file."""
    process = subprocess.Popen([sys.executable, "-m", "tests.factories.log_process"], cwd=ROOT, stderr=stderr)
    try:
        yield
    finally:
        assert process.wait(30) == 0


def terminal_output() -> str:
    """Everything written to a terminal, with the line ends of a file."""
    ours, theirs = pty.openpty()
    parts = []
    with log_process(theirs), os.fdopen(ours, "rb", buffering=0) as terminal:
        os.close(theirs)
        # Reading a terminal fails once its other end is closed.
        with suppress(OSError):
            while part := terminal.read(4096):
                parts.append(part)
    return b"".join(parts).decode().replace("\r\n", "\n")


def test_lines_in_a_file(tmp_path: Path) -> None:
    """Outside a terminal every event is one line of JSON, whatever it contains."""
    with (tmp_path / "log").open("wb") as log, log_process(log.fileno()):
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
    text = COLOUR.sub("", terminal_output())
    lines = text.splitlines()
    assert all(line.isprintable() for line in lines)
    assert sum(bool(TIME.match(line)) for line in lines) == 7
    assert all(TIME.match(line) or line.startswith("  ") for line in lines)
    assert "ValueError" in text
    assert "a-key-in-a-variable" not in text


def of_a_child(error: Exception) -> BaseException:
    """An error in a child, as the parent gets it."""
    einfo: Any = import_module("billiard.einfo")
    try:
        raise error  # noqa: TRY301  # an error without a traceback is none from a child
    except Exception:  # noqa: BLE001  # whatever it is
        wrapped: BaseException = einfo.ExceptionInfo().exception
        return wrapped


def record(logger: str, error: BaseException) -> logging.LogRecord:
    """A log record of an error, after our filter."""
    construct = logging.LogRecord(
        logger, logging.ERROR, "f.py", 1, "consumer: %s", ("lost",), (type(error), error, None)
    )
    assert _in_one_line(construct)
    return construct


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("Connection refused"),
        redis.ReadOnlyError("You can't write against a read only replica."),
        redis.ResponseError("NOREPLICAS Not enough good replicas to write."),
        ConnectionResetError("reset"),
        OperationalError("no broker"),
        ConnectionLimitExceeded("20"),
        RestartFreqExceeded("5 in 1s"),
        TimeLimitExceeded(90),
        WorkerLostError("signal 9"),
        of_a_child(WorkerLostError("signal 9")),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("logger", ["celery.worker.consumer", "celery.beat", "kombu", "tornado.application", "flower"])
def test_library_errors_are_one_line(logger: str, error: BaseException) -> None:
    """An unavailable server, a refused connection or a lost child is logged with its cause and without a traceback."""
    written = record(logger, error)
    assert (written.exc_info, written.exc_text) == (None, None)
    cause = getattr(error, "exc", error)
    assert written.getMessage() == f"consumer: lost ({type(cause).__name__}: {cause})"


@pytest.mark.parametrize(
    ("logger", "error"),
    [
        ("celery.app.trace", KeyError("x")),
        ("kombu", TypeError()),
        ("worker.processes.in_flight", ConnectionResetError("reset")),
    ],
)
def test_a_bug_keeps_its_traceback(logger: str, error: BaseException) -> None:
    """Errors that may be bugs, or come from our own code, keep their traceback."""
    assert record(logger, error).exc_info is not None


def test_repeated_lines_of_libraries() -> None:
    """A warning that repeats is left out for a while; ours, other ones and information are not."""
    repeats = _Repeats()

    def logs(name: str, level: int, text: str) -> bool:
        return repeats.filter(logging.LogRecord(name, level, "", 0, text, None, None))

    assert [logs("celery.worker", logging.WARNING, "Connection lost") for _ in range(3)] == [True, False, False]
    assert logs("celery.worker", logging.WARNING, "Connected")
    tasks = [logging.LogRecord("celery.app", logging.ERROR, "", 0, "Task %s raised", (name,), None) for name in "ab"]
    assert [repeats.filter(task) for task in tasks] == [True, True]
    assert [logs("celery.worker", logging.INFO, "x") for _ in range(2)] == [True, True]
    assert [logs("worker.processes.child", logging.ERROR, "claim_loop_failed") for _ in range(2)] == [True, True]
