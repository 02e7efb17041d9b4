"""What Sentry is told: shipments that failed, merchants that are paused, bugs, and that the sweep runs."""

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
    """Switch Sentry on; bodies, arguments and local variables stay here."""
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
    """Request headers and bodies, and whatever is named like a secret, never leave."""
    event.pop("request", None)
    extra = event.get("extra", {})
    for name in list(extra):
        if any(word in name.lower() for word in _SECRET_WORDS):
            extra[name] = "[removed]"
    for crumb in (event.get("breadcrumbs") or {}).get("values", []):
        crumb.get("data", {}).pop("http.query", None)
    return event


UNREADABLE_EVERY_S = 60.0
MAX_CAUSES = 1000
"""Causes that are remembered, so that each is said once in that time."""


class SentryAlerts:
    """Tells log and Sentry of what ends badly; each thing once."""

    def __init__(self) -> None:
        """Nothing has been told."""
        self._unreadable: dict[tuple[str, str], float] = {}

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

    def asked_again(self, shipment: Shipment) -> None:
        """A shipment was called for again after an open call: an API that acts later than that books it twice."""
        log.warning(
            "asked_again",
            merchant=shipment.merchant,
            shipment=shipment.reference,
            strategy=str(shipment.strategy),
            next="its carrier is read once more after another quiet time",
        )

    def unreadable(self, found: UnreadableRecord) -> None:
        """A record cannot be read by this version."""
        log.error(
            "record_unreadable",
            merchant=found.merchant,
            shipment=found.reference,
            error=found.error,
            next="it is only read back; a newer worker may be able to read it",
        )

    def response_unreadable(self, shipment: Shipment, why: str) -> None:
        """An answer cannot be read: once a minute for each merchant and cause, as others will be alike."""
        cause, now = (shipment.merchant, why), time.monotonic()
        if now - self._unreadable.get(cause, float("-inf")) < UNREADABLE_EVERY_S:
            return
        if len(self._unreadable) >= MAX_CAUSES:
            self._unreadable.clear()
        self._unreadable[cause] = now
        log.warning(
            "response_unreadable",
            merchant=shipment.merchant,
            shipment=shipment.reference,
            why=why,
            next="its shipments are read back; what became of the calls is not known",
        )

    def resumed(self, merchant: str, shipments: int) -> None:
        """A paused merchant's API answers again."""
        log.warning("merchant_resumed", merchant=merchant, shipments=shipments)

    def paused(self, merchant: str, why: str) -> None:
        """A merchant was paused until its API answers a probe, or its key or file changes."""
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


def check_in_sweep(interval_s: float) -> Any:  # a context manager of Sentry's
    """A beat monitor's check-in around a sweep (Sentry's own beat integration makes none for intervals of seconds)."""
    minutes = max(1, round(interval_s / 60))
    config: Any = {"schedule": {"type": "interval", "value": minutes, "unit": "minute"}, "checkin_margin": 5}
    return sentry_sdk.monitor(monitor_slug="allocation-sweep", monitor_config=config)
