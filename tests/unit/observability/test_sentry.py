"""What is said in the log of shipments and answers."""

import pytest
from structlog.testing import capture_logs

from tests.factories.shipments import VIRTUAL, shipment
from worker.observability import sentry
from worker.observability.sentry import SentryAlerts


def told(reporter: SentryAlerts, *causes: str) -> list[str]:
    """What the log says of answers that cannot be read."""
    with capture_logs() as logged:
        for why in causes:
            reporter.response_unreadable(shipment(VIRTUAL), why)
    return [line["why"] for line in logged if line["event"] == "response_unreadable"]


def test_a_cause_is_said_once() -> None:
    """An API that answers thousands of calls alike fills no log."""
    assert told(SentryAlerts(), "a", "b", "a", "b") == ["a", "b"]


def test_a_cause_is_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while it is said again; and so many causes are not remembered for ever."""
    reporter = SentryAlerts()
    monkeypatch.setattr(sentry, "UNREADABLE_EVERY_S", 0.0)
    assert told(reporter, "a", "a") == ["a", "a"]
    monkeypatch.setattr(sentry, "MAX_CAUSES", 2)
    told(reporter, *"bcdef")
    assert len(reporter._unreadable) <= 2
