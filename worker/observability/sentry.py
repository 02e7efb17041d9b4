"""Sentry: failed shipments, paused merchants, bugs, and the sweep's check-in."""

import logging
import time
from typing import Any

import sentry_sdk
import structlog
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.httpx import HttpxIntegration
from sentry_sdk.integrations.logging import LoggingIntegration

from tasks.rules.shipment import Shipment
from tasks.rules.unreadable import UnreadableRecord

log = structlog.get_logger(__name__)


def start(dsn: str) -> None:
    """Switch Sentry on, without bodies, arguments and local variables."""
    sentry_sdk.init(
        dsn=dsn,
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
    """Remove request headers and bodies, and everything named like a secret."""
    event.pop("request", None)
    extra = event.get("extra", {})
    for name in list(extra):
        if any(word in name.lower() for word in _SECRET_WORDS):
            extra[name] = "[removed]"
    for crumb in (event.get("breadcrumbs") or {}).get("values", []):
        crumb.get("data", {}).pop("http.query", None)
    return event


REPEATED_AFTER_S = 60.0
MAX_CAUSES = 1000
"""Causes that are remembered, to log each once in that time."""


class SentryAlerts:
    """Logs problems, and reports them to Sentry; each once."""

    def __init__(self) -> None:
        """Nothing is logged yet."""
        self._logged_at: dict[tuple[str, str], float] = {}

    def failed(self, shipment: Shipment, reason: str, message: str) -> None:
        """A shipment failed: one Sentry event, grouped by reason; none for what an operator has cancelled."""
        facts = {"merchant": shipment.merchant, "shipment": shipment.reference, "reason": reason, "message": message}
        if reason == "cancelled_by_operator":
            log.info("shipment_failed", **facts)
            return
        log.error("shipment_failed", **facts, next="allocation explain shows its history")
        with sentry_sdk.new_scope() as scope:
            scope.fingerprint = ["shipment_failed", reason]
            scope.set_tag("merchant", shipment.merchant)
            scope.set_tag("reason", reason)
            scope.set_context("shipment", {"reference": shipment.reference, "rule": shipment.rule})
            sentry_sdk.capture_message(f"shipment failed: {reason}", level="error")

    def call_repeated(self, shipment: Shipment) -> None:
        """A shipment is called again after an open call: an API that acts later than that books twice.

        Logged once a minute per merchant; `allocation status --json` has their number.
        """
        if self._is_repeated(shipment.merchant, "call_repeated"):
            return
        log.warning(
            "call_repeated",
            merchant=shipment.merchant,
            shipment=shipment.reference,
            strategy=str(shipment.strategy),
            next="its carrier is read once more after another quiet time",
        )

    def unreadable(self, found: UnreadableRecord) -> None:
        """A record cannot be parsed by this version."""
        log.error(
            "record_unreadable",
            merchant=found.merchant,
            shipment=found.reference,
            error=found.error,
            next="it is only read back; a newer worker may be able to read it",
        )

    def response_unreadable(self, shipment: Shipment, why: str) -> None:
        """A response cannot be parsed: logged once a minute per merchant and cause."""
        if self._is_repeated(shipment.merchant, why):
            return
        log.warning(
            "response_unreadable",
            merchant=shipment.merchant,
            shipment=shipment.reference,
            why=why,
            next="its shipments are read back; what became of the calls is not known",
        )

    def _is_repeated(self, merchant: str, cause: str) -> bool:
        """Whether the same was logged for this merchant in the last minute."""
        key, now = (merchant, cause), time.monotonic()
        if now - self._logged_at.get(key, float("-inf")) < REPEATED_AFTER_S:
            return True
        if len(self._logged_at) >= MAX_CAUSES:
            self._logged_at.clear()
        self._logged_at[key] = now
        return False

    def resumed(self, merchant: str, shipments: int) -> None:
        """A paused merchant is resumed."""
        log.warning("merchant_resumed", merchant=merchant, shipments=shipments)

    def paused(self, merchant: str, why: str) -> None:
        """A merchant is paused until its API accepts a probe, or its key or file changes."""
        log.error(
            "merchant_paused",
            merchant=merchant,
            why=why,
            next="one shipment tries from time to time, or a new key does",
        )
        with sentry_sdk.new_scope() as scope:
            scope.fingerprint = ["merchant_paused", merchant]
            scope.set_tag("merchant", merchant)
            sentry_sdk.capture_message(f"merchant paused: {why}", level="error")


def report_lasting(kind: str, subject: str, lasted_s: float) -> None:
    """Report a state that lasts; grouped by kind and subject."""
    with sentry_sdk.new_scope() as scope:
        scope.fingerprint = ["lasting", kind, subject]
        scope.set_tag("subject", subject)
        sentry_sdk.capture_message(f"{kind} for {lasted_s:.0f} s: {subject}", level="error")


def check_in_sweep(interval_s: float) -> Any:  # a context manager of Sentry's
    """The check-in of a monitor around a sweep (Sentry's beat integration has none for intervals of seconds)."""
    minutes = max(1, round(interval_s / 60))
    config: Any = {"schedule": {"type": "interval", "value": minutes, "unit": "minute"}, "checkin_margin": 5}
    return sentry_sdk.monitor(monitor_slug="allocation-sweep", monitor_config=config)
