"""Logging: structured lines on standard error, and Sentry where it is on."""

import logging
import sys
import time
from typing import Any

import structlog
from billiard.exceptions import RestartFreqExceeded, TimeLimitExceeded, WorkerLostError
from kombu.exceptions import ConnectionLimitExceeded, OperationalError

from config.setting_types import LogLevel
from config.settings import Settings
from worker.observability.text import visible
from worker.redis_client.store import RedisError

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

_NO_BUGS = (
    RedisError,
    OSError,
    OperationalError,
    ConnectionLimitExceeded,
    RestartFreqExceeded,
    TimeLimitExceeded,
    WorkerLostError,
)
_LIBRARIES = ("celery", "kombu", "flower", "tornado")

REPEATED_AFTER_S = 10.0
"""How long a repeated warning or error of a library is left out."""

_COMPARED = 100
"""By how many characters lines are compared."""

_CHATTY = ("httpx", "httpcore", "aiohttp", "kombu", "celery.beat", "celery.worker.strategy", "celery.app.trace")


def start_logging(level_name: LogLevel = "info") -> None:
    """One line per event on standard error: readable on a terminal, JSON elsewhere. `level_name`: the lowest level.

    Both renderers escape control characters, so that text from events can neither forge a line nor control a terminal.
    """
    level = logging.getLevelNamesMapping()[level_name.upper()]
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(terminal=sys.stderr.isatty()))
    handler.addFilter(_in_one_line)
    handler.addFilter(_Repeats())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))


class _Repeats(logging.Filter):
    """Leaves out lines of libraries that repeat an earlier one: while a server refuses, Celery logs dozens a second."""

    def __init__(self) -> None:
        super().__init__()
        self._logged_at: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        if record.levelno < logging.WARNING or not record.name.startswith((*_LIBRARIES, "py.warnings")):
            return True
        # The message and not its template, which failures of different tasks share.
        line, now = (record.name, record.getMessage()[:_COMPARED]), time.monotonic()
        if now - self._logged_at.get(line, float("-inf")) < REPEATED_AFTER_S:
            return False
        self._logged_at = {each: at for each, at in self._logged_at.items() if now - at < REPEATED_AFTER_S}
        self._logged_at[line] = now
        return True


def _in_one_line(record: logging.LogRecord) -> bool:
    """An unavailable or refusing server and a lost child are no bugs in Celery or Flower.

    Such errors are logged without a traceback.
    """
    error: Any = record.exc_info[1] if record.exc_info else None
    error = getattr(error, "exc", error)  # billiard's wrapper of what a child raised
    if isinstance(error, _NO_BUGS) and record.name.startswith(_LIBRARIES):
        record.msg, record.args = f"{record.getMessage().strip()} ({type(error).__name__}: {error})", None
        record.exc_info = record.exc_text = None
    return True


def _formatter(*, terminal: bool) -> logging.Formatter:
    last: list[Any] = [structlog.processors.JSONRenderer()]
    if terminal:
        # Its own tracebacks show local variables, keys among them.
        plain = structlog.dev.plain_traceback
        last = [_visible, structlog.dev.ConsoleRenderer(exception_formatter=plain, repr_native_str=True)]
    first: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
    ]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=[*first, *last])


def _visible(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Escape what the terminal renderer does not; indent tracebacks, so that no line looks like an event."""
    for name in {"event", "logger"} & event.keys():
        event[name] = visible(str(event[name]))
    if "exception" in event:
        event["exception"] = "\n".join(f"  {visible(line)}" for line in event["exception"].split("\n"))
    return event


def start_sentry(settings: Settings) -> None:
    """Switch Sentry on when a DSN is set."""
    if settings.sentry_dsn is not None:
        # Its packages take eight megabytes per process, among them httpx for its integration.
        from worker.observability.sentry import start  # noqa: PLC0415

        start(settings.sentry_dsn.get_secret_value())
