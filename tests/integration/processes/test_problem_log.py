"""States that concern operators are logged once when they start and once when they end, over all processes."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from tasks.rules.outcome import Feedback
from tasks.work.ports import Report
from tests.factories.ledger_harness import Harness
from worker.processes import problem_log
from worker.processes.merchant_files import MerchantFiles
from worker.processes.problem_log import ProblemLog

API = "api.test#1"


@pytest.fixture
def logs(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> list[ProblemLog]:
    """The logs of two processes, which check whenever they are asked to."""
    monkeypatch.setattr(problem_log, "EVERY_S", 0.0)
    merchants = MerchantFiles(harness.settings.merchants_dir, frozenset())
    return [ProblemLog(harness.redis, merchants, harness.ledger) for _ in range(2)]


async def check(logs: list[ProblemLog]) -> list[str]:
    """The log events of a check by each process."""
    with capture_logs() as logged:
        for each in logs:
            await each.check()
    return [entry["event"] for entry in logged]


async def respond(harness: Harness, signal: Any, count: int) -> None:
    """Report responses of the API."""
    claim = await harness.claim("acme", *(f"{signal}{number}" for number in range(count)))
    for shipment in claim.shipments:
        report = Report(
            shipment=shipment,
            lease_token=claim.lease_token,
            verdict="keep",
            api=API,
            feedback=Feedback(signal, "allocate"),
        )
        await harness.ledger.report(report)


async def test_a_breaker(harness: Harness, logs: list[ProblemLog]) -> None:
    """It opens, stays open, and closes: two lines in all, whichever process notices."""
    assert await check(logs) == []
    await respond(harness, "bad", 20)
    assert await check(logs) == ["breaker_opened"]
    assert await check(logs) == []
    await harness.raw.delete("allocation:breakers", f"allocation:breaker:b:{API}")
    assert await check(logs) == ["breaker_closed"]
    assert await check(logs) == []


async def test_a_throttled_merchant(harness: Harness, logs: list[ProblemLog]) -> None:
    """It is logged when the 429s start, and when there has been none for a minute."""
    await respond(harness, "throttled", 1)
    assert await check(logs) == ["merchant_throttled"]
    await harness.raw.zadd("allocation:throttled", {"acme": 1})
    assert await check(logs) == ["merchant_no_longer_throttled"]


async def test_shipments_in_their_quiet_time(harness: Harness, logs: list[ProblemLog]) -> None:
    """They are counted per merchant; an API without a good response is named."""
    now_ms = await harness.raw.time()
    await harness.raw.zadd("allocation:quiet_times", {"acme:a": (now_ms[0] + 60) * 1000, "acme:b": 1})
    with capture_logs() as logged:
        await logs[0].check()
    assert [(entry["event"], entry["shipments"]) for entry in logged] == [("quiet_time_started", 1)]
    await harness.raw.delete("allocation:quiet_times")
    assert await check(logs) == ["quiet_time_ended"]


async def test_a_state_that_lasts(harness: Harness, logs: list[ProblemLog], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported to Sentry once."""
    reported: list[str] = []
    monkeypatch.setattr(problem_log, "report_lasting", lambda kind, *_: reported.append(kind))
    monkeypatch.setattr(problem_log, "REPORT_AFTER_S", -1.0)
    await respond(harness, "throttled", 1)
    for _ in range(3):
        await check(logs)
    assert reported == ["throttled"]
