"""Log lines about shipments and responses."""

import pytest
from structlog.testing import capture_logs

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
    monkeypatch.setattr(sentry, "UNREADABLE_EVERY_S", 0.0)
    assert logged(reporter, "a", "a") == ["a", "a"]
    monkeypatch.setattr(sentry, "MAX_CAUSES", 2)
    logged(reporter, *"bcdef")
    assert len(reporter._unreadable) <= 2
