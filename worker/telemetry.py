"""What the processes say: structured log lines, and to Sentry what a person must look at."""

import logging
import sys
from typing import Any

import sentry_sdk
import structlog
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.httpx import HttpxIntegration
from sentry_sdk.integrations.logging import LoggingIntegration

from config.settings import Settings
from tasks.shipment import Shipment

log = structlog.get_logger(__name__)

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

_CHATTY = ("httpx", "httpcore", "aiohttp", "kombu", "celery.beat", "celery.worker.strategy", "celery.app.trace")


def start_logging(level: int = logging.INFO) -> None:
    """One line per event on standard error: readable on a terminal, JSON elsewhere.

    Both renderers write control characters escaped, so that no text from an event can forge a line or steer a terminal.
    """
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(terminal=sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _formatter(*, terminal: bool) -> logging.Formatter:
    last: list[Any] = [structlog.processors.JSONRenderer()]
    if terminal:
        # Its own tracebacks would show local variables, and a key among them.
        plain = structlog.dev.plain_traceback
        last = [_visible, structlog.dev.ConsoleRenderer(exception_formatter=plain, repr_native_str=True)]
    first: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
    ]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=[*first, *last])


def _visible(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Escape what the terminal's renderer writes as it is; indent tracebacks, so that no line looks like an event."""
    for name in {"event", "logger"} & event.keys():
        event[name] = _escaped(str(event[name]))
    if "exception" in event:
        event["exception"] = "\n".join(f"  {_escaped(line)}" for line in event["exception"].split("\n"))
    return event


def _escaped(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def start_sentry(settings: Settings) -> None:
    """Switch Sentry on when a DSN is set; bodies, arguments and local variables stay here."""
    if settings.sentry_dsn is None:
        return
    sentry_sdk.init(
        dsn=settings.sentry_dsn.get_secret_value(),
        integrations=[
            CeleryIntegration(propagate_traces=False),
            HttpxIntegration(),
            LoggingIntegration(event_level=None, level=logging.WARNING),
        ],
        trace_propagation_targets=[],
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        before_send=_scrub,
    )


_SECRET_WORDS = ("key", "authorization", "password", "secret", "token", "dsn")


def _scrub(event: Any, _hint: Any) -> Any:  # Sentry's own types
    """Request headers and bodies, and whatever is named like a secret, never leave."""
    event.pop("request", None)
    extra = event.get("extra", {})
    for name in list(extra):
        if any(word in name.lower() for word in _SECRET_WORDS):
            extra[name] = "[removed]"
    for crumb in (event.get("breadcrumbs") or {}).get("values", []):
        crumb.get("data", {}).pop("http.query", None)
    return event


class Reports:
    """Tells log and Sentry of what ends badly; each thing once."""

    def failed(self, shipment: Shipment, reason: str, message: str) -> None:
        """A shipment failed for good: one report, grouped by its reason."""
        log.error(
            "shipment_failed",
            merchant=shipment.merchant,
            shipment=shipment.reference,
            reason=reason,
            message=message,
            next="allocation explain shows its story",
        )
        with sentry_sdk.new_scope() as scope:
            scope.fingerprint = ["shipment_failed", reason]
            scope.set_tag("merchant", shipment.merchant)
            scope.set_tag("reason", reason)
            scope.set_context("shipment", {"reference": shipment.reference, "rule": shipment.rule})
            sentry_sdk.capture_message(f"shipment failed: {reason}", level="error")

    def paused(self, merchant: str, why: str) -> None:
        """A merchant was paused until its key or file changes."""
        log.error("merchant_paused", merchant=merchant, why=why, next="resumes when its key or file changes")
        with sentry_sdk.new_scope() as scope:
            scope.fingerprint = ["merchant_paused", merchant]
            scope.set_tag("merchant", merchant)
            sentry_sdk.capture_message(f"merchant paused: {why}", level="error")


def check_in_sweep(interval_s: float) -> Any:  # a context manager of Sentry's
    """A beat monitor's check-in around a sweep (Sentry's own beat integration makes none for intervals of seconds)."""
    minutes = max(1, round(interval_s / 60))
    config: Any = {"schedule": {"type": "interval", "value": minutes, "unit": "minute"}, "checkin_margin": 5}
    return sentry_sdk.monitor(monitor_slug="allocation-sweep", monitor_config=config)
