"""Problems found in an overview: slug, severity, subject, and the command that helps."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from config.settings import Settings
from worker.ledger.throttling import Breaker
from worker.observability.heartbeat import Heartbeat, ReportedFiles
from worker.observability.merchant_counts import MerchantCounts
from worker.observability.orders_lag import OrdersCounts
from worker.observability.overview import Overview, RejectedCount
from worker.observability.problems.find import find_problems
from worker.observability.problems.problem import SLUGS, KnownFiles, Problem

NOW = 1_795_255_200.0
SETTINGS = Settings.model_construct(redis_url=SecretStr("redis://r"), sweep_seconds=5.0, lease_seconds=60.0)
ACME = MerchantCounts(
    merchant="acme",
    merchant_file=None,
    due=0,
    parked=0,
    working=0,
    allocated=1,
    failed=0,
    oldest_due_s=None,
    paused=None,
    paused_since=None,
    on_hold=None,
    in_quiet_time=0,
    near_deadline=0,
    repeated_calls=0,
    carrier_changed=0,
    window=200,
    limit_in_flight=0,
    limit_per_second=0.0,
)


def beat(version: str = "1", digest: str = "a", age_s: int = 3600) -> Heartbeat:
    """The heartbeat of a process that started, and read its files, that long ago."""
    since = round(NOW) - age_s
    return Heartbeat(at=round(NOW), version=version, started=since, files=ReportedFiles(digest=digest, since=since))


HEALTHY = Overview(
    now=NOW,
    server="",
    refuses=None,
    unsafe=(),
    memory_share=0.5,
    merchants=(ACME,),
    last_sweep_s=5.0,
    orders=OrdersCounts(undelivered=0, unacknowledged=0, has_group=True),
    rejected=(),
    ignored=0,
    lost_orders=0,
    processes={"intake@h:1": beat(), "worker@h:2": beat(), "beat@h:3": beat()},
    breakers=(),
    slowed=(),
)
FILES = KnownFiles(apis={"acme": "api.test#1"}, invalid={})
QUEUES = {"allocation": 0}


def problems(queues: Any = QUEUES, files: KnownFiles = FILES, **changes: Any) -> list[Problem]:
    """The problems of a healthy system with these changes."""
    return find_problems(replace(HEALTHY, **changes), queues, files, SETTINGS)


def acme(**changes: Any) -> list[Problem]:
    """The problems of a healthy system whose merchant has these changes."""
    return problems(merchants=(replace(ACME, **changes),))


def found(some: list[Problem]) -> list[tuple[str, str, str]]:
    """Slug, severity and subject of each problem."""
    return [(each.slug, each.severity, each.subject) for each in some]


def test_a_healthy_system() -> None:
    """It has no problem."""
    assert problems() == []


def test_processes_and_sweep() -> None:
    """A missing process of each role and a late sweep are urgent; a sweep is late after three intervals and 30 s."""
    assert found(problems(processes={})) == [
        ("process_missing", "urgent", role) for role in ("intake", "worker", "beat")
    ]
    assert found(problems(last_sweep_s=None)) == [("sweep_late", "urgent", "")]
    assert problems(last_sweep_s=29.0) == []
    assert found(problems(last_sweep_s=31.0)) == [("sweep_late", "urgent", "")]


def test_orders() -> None:
    """An order that is unread for a minute, and lost orders, are urgent; rejected events need attention."""
    lag = OrdersCounts(undelivered=1, unacknowledged=0, has_group=True, oldest_s=61.0)
    assert found(problems(orders=lag)) == [("order_unread", "urgent", "")]
    assert problems(orders=replace(lag, oldest_s=59.0)) == []
    assert found(problems(lost_orders=2)) == [("orders_lost", "urgent", "")]
    rejected = (RejectedCount(reason="bad_json", merchant="", events=3),)
    assert found(problems(rejected=rejected)) == [("orders_rejected", "attention", "")]


def test_a_paused_merchant() -> None:
    """A pause is urgent while shipments wait because of it, else it needs attention."""
    assert found(acme(paused="401", parked=3)) == [("merchant_paused", "urgent", "acme")]
    assert found(acme(paused="401")) == [("merchant_paused", "attention", "acme")]
    (missing,) = acme(paused="its API key cannot be found", parked=99)
    assert (missing.slug, missing.severity, missing.shipments) == ("key_missing", "urgent", 99)


def test_an_invalid_or_deleted_file() -> None:
    """It is urgent while shipments wait or orders were rejected for it; an invalid one needs attention anyway."""
    invalid = KnownFiles(apis={}, invalid={"acme": "api: is missing"})
    none = KnownFiles(apis={}, invalid={})
    waiting = (replace(ACME, parked=1),)
    rejected = (RejectedCount(reason="unknown_merchant", merchant="acme", events=2),)
    assert found(problems(files=invalid)) == [("file_invalid", "attention", "acme")]
    assert found(problems(files=invalid, merchants=waiting)) == [("file_invalid", "urgent", "acme")]
    assert ("file_invalid", "urgent", "acme") in found(problems(files=invalid, rejected=rejected))
    (stored,) = problems(files=invalid, merchants=(replace(ACME, merchant_file="1f2e"),))
    assert "invalid, version 1f2e is used: api: is missing" in stored.text
    assert problems(files=none) == []
    assert found(problems(files=none, merchants=waiting)) == [("file_missing", "urgent", "acme")]
    unknown = (RejectedCount(reason="unknown_merchant", merchant="nova", events=1),)
    assert ("file_missing", "attention", "nova") in found(problems(rejected=unknown))


def test_late_shipments() -> None:
    """Shipments due for two leases, or near their deadline, are urgent; a merchant on hold is not late."""
    assert found(acme(due=1, oldest_due_s=121.0)) == [("due_late", "urgent", "acme")]
    assert acme(due=1, oldest_due_s=119.0) == []
    assert found(acme(due=1, oldest_due_s=999.0, on_hold="a strike")) == [("merchant_on_hold", "attention", "acme")]
    assert found(acme(parked=2, near_deadline=1)) == [("deadline_near", "urgent", "acme")]
    assert found(acme(failed=1)) == [("shipments_failed", "attention", "acme")]


@pytest.mark.parametrize(("open_s", "severity"), [(10.0, "attention"), (60.0, "urgent")])
def test_a_breaker(open_s: float, severity: str) -> None:
    """It names host and merchants, and is urgent once it has been open for a minute."""
    breaker = Breaker(api="api.test#1", probe_in_s=3.0, since=NOW - open_s)
    (problem,) = problems(breakers=(breaker,), merchants=(replace(ACME, parked=7),))
    assert (problem.severity, problem.subject, problem.shipments) == (severity, "api.test", 7)
    assert "merchants: acme" in problem.text


def test_servers() -> None:
    """An unavailable broker and a nearly full server are urgent; unsafe settings need attention."""
    assert found(problems(refuses="it is a replica")) == [("redis_unavailable", "urgent", "")]
    assert found(problems(queues="no response")) == [("broker_unavailable", "urgent", "")]
    assert found(problems(memory_share=0.81)) == [("memory_low", "urgent", "")]
    assert problems(memory_share=None) == []
    assert found(problems(unsafe=("appendonly is off",))) == [("redis_unsafe", "attention", "")]
    (warned,) = problems(files=replace(FILES, warnings=["one", "two", "three"]))
    assert (warned.slug, warned.severity, warned.text) == ("settings_warnings", "attention", "one (and 2 more)")


def test_processes_that_differ() -> None:
    """Different versions or files need attention after five minutes, not during a deploy."""
    differing = {**HEALTHY.processes, "worker@h:4": beat("2", "b")}
    assert found(problems(processes=differing)) == [
        ("versions_differ", "attention", ""),
        ("files_differ", "attention", ""),
    ]
    assert problems(processes={**HEALTHY.processes, "worker@h:4": beat("2", "b", age_s=60)}) == []


def test_urgent_problems_come_first() -> None:
    """Whatever the order in which they are found."""
    some = acme(failed=1, parked=1, near_deadline=1)
    assert [each.severity for each in some] == ["urgent", "attention"]
    assert {each.slug for each in some} <= set(SLUGS)


def test_since() -> None:
    """A problem says since when it lasts, where that is known."""
    held = acme(on_hold="a strike", on_hold_since=NOW - 60)
    failed = acme(failed=1, failed_since=NOW - 120)
    rejected = problems(rejected=(RejectedCount(reason="bad_json", merchant="", events=3, since=NOW - 180),))
    invalid = problems(files=KnownFiles(apis={}, invalid={"acme": "x"}, invalid_since={"acme": NOW - 240}))
    found = [problem.since for (problem,) in (held, failed, rejected, invalid)]
    assert found == [NOW - 60, NOW - 120, NOW - 180, NOW - 240]
