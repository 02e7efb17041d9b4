"""Log lines about shipments and responses."""

import pytest
from structlog.testing import capture_logs

from tasks.rules.frozen import with_changes
from tests.factories.shipments import VIRTUAL, shipment
from worker.observability import sentry
from worker.observability.sentry import SentryAlerts


def logged(reporter: SentryAlerts, *causes: str) -> list[str]:
    """The logged reasons of unreadable responses."""
    with capture_logs() as logged:
        for why in causes:
            reporter.response_unreadable(shipment(VIRTUAL), why)
    return [line["why"] for line in logged if line["event"] == "response_unreadable"]


def test_a_reason_is_logged_once() -> None:
    """An API with thousands of identical responses causes one log line."""
    assert logged(SentryAlerts(), "a", "b", "a", "b") == ["a", "b"]


def test_a_reason_is_logged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while it is logged again; the number of remembered reasons is bounded."""
    reporter = SentryAlerts()
    monkeypatch.setattr(sentry, "REPEATED_AFTER_S", 0.0)
    assert logged(reporter, "a", "a") == ["a", "a"]
    monkeypatch.setattr(sentry, "MAX_CAUSES", 2)
    logged(reporter, *"bcdef")
    assert len(reporter._logged_at) <= 2


def test_repeated_calls_are_logged_once() -> None:
    """An outage that makes thousands of calls repeated causes one line per merchant."""
    alerts = SentryAlerts()
    with capture_logs() as lines:
        for reference in ("sp_1", "sp_2", "sp_3"):
            alerts.call_repeated(with_changes(shipment(VIRTUAL), {"reference": reference}))
        alerts.call_repeated(with_changes(shipment(VIRTUAL), {"merchant": "beta"}))
    assert [(line["event"], line["merchant"]) for line in lines] == [
        ("call_repeated", "acme"),
        ("call_repeated", "beta"),
    ]


def test_a_cancelled_shipment_is_no_error() -> None:
    """It fails because an operator wants it to."""
    with capture_logs() as lines:
        SentryAlerts().failed(shipment(VIRTUAL), "cancelled_by_operator", "sold twice")
        SentryAlerts().failed(shipment(VIRTUAL), "conflict", "busy")
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("shipment_failed", "info"),
        ("shipment_failed", "error"),
    ]
