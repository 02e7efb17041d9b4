"""A merchant whose key does not work: paused, probed by one shipment's visit at a time, and resumed."""

from typing import Any

import pytest

from config.strategies.quote import Quote
from tasks.rules.decision import FailReason
from tasks.rules.next_decision import OWN_DENIAL_WAIT_S, PAUSED_WAIT_S
from tasks.rules.outcome import Finding, Quoted, Stopped, Unknown
from tasks.work.ports import Pause
from tests.factories.batch_run import BatchRun, make_shipments
from tests.factories.merchant_files import SERVICE, V1_API, V2_API
from tests.factories.shipments import (
    ALLOCATED,
    FORBIDDEN,
    GROUP,
    HOUR_S,
    NO_ACCESS,
    NOW,
    REFUSED,
    THROTTLED,
    UNALLOCATED,
    UNKNOWN,
    open_call,
)
from tests.factories.shipments import SERVICE as STEP
from tests.factories.virtual_clock import run_virtual

WHY = "the key does not work"
CALLS, READS = Pause(why=WHY, purpose="allocate"), Pause(why=WHY, purpose="read")
OVER = open_call(ago_s=HOUR_S)


@pytest.mark.parametrize("state", [{"key": None}, {"paused": CALLS}, {"paused": READS}])
@pytest.mark.parametrize("file", [V2_API + SERVICE, V1_API + SERVICE])
def test_a_paused_merchant_is_not_called(file: str, state: dict[str, Any]) -> None:
    """Without a working key nothing is requested, and every shipment waits, including those with an open call."""
    run = BatchRun(shipments=[*make_shipments("a b"), *make_shipments("c", **OVER)], file=file, **state)
    run_virtual(run.work())
    assert (run.api.requests, run.ledger.permit_requests) == ([], [])
    for name in ("a", "b", "c"):
        assert run.ledger.verdicts(name) == ["park"]
        assert run.ledger.last(name).due - NOW == pytest.approx(PAUSED_WAIT_S)


def test_a_paused_merchants_shipment_fails_at_its_deadline() -> None:
    """The wait for a key ends with the deadline, as unauthorised."""
    run = BatchRun(shipments=make_shipments("a", age_s=48 * HOUR_S), key=None)
    run_virtual(run.work())
    assert run.ledger.last("a").reason == "unauthorised"
    assert run.alerts.failures == [("a", "unauthorised")]


@pytest.mark.parametrize(
    ("finding", "verdict", "reason"),
    [(ALLOCATED, "allocated", ""), (NO_ACCESS, "failed", "unauthorised"), (UNALLOCATED, "failed", "deadline_passed")],
)
def test_an_open_call_is_read_back_at_the_deadline(finding: Finding, verdict: str, reason: FailReason | str) -> None:
    """A key that may not call may still read: a shipment with an open call does not fail unread."""
    run = BatchRun(shipments=make_shipments("a", age_s=48 * HOUR_S, **OVER), paused=CALLS)
    run.api.read_backs["a"] = [finding]
    run_virtual(run.work())
    assert run.api.read == ["a"]
    assert (run.ledger.last("a").verdict, run.ledger.last("a").reason) == (verdict, reason)


def test_a_key_that_does_not_work_pauses_once() -> None:
    """The pause records what was refused and the digest of file and key, and one alert is sent."""
    run = BatchRun(shipments=make_shipments("a b"))
    run.api.calls |= {name: [Stopped(reason="unauthorised", message=WHY, retry_after_s=7)] for name in ("a", "b")}
    run_virtual(run.work())
    pause = Pause(why=WHY, purpose="allocate", retry_after_s=7, strategy="carrier_service S")
    assert run.ledger.pauses == [("acme", pause._replace(refused=name), "digest-1", "") for name in ("a", "b")]
    assert run.alerts.pauses == [("acme", WHY)]
    assert [run.ledger.verdicts(name) for name in ("a", "b")] == [["park"], ["park"]]
    assert run.alerts.failures == []


def test_a_denied_read_back_pauses_read_backs() -> None:
    """A merchant whose key may call and not read is probed by a read-back."""
    run = BatchRun(shipments=make_shipments("a", **OVER))
    run.api.read_backs["a"] = [NO_ACCESS]
    run_virtual(run.work())
    assert [pause.purpose for _, pause, _, _ in run.ledger.pauses] == ["read"]


@pytest.mark.parametrize("file", [V2_API + SERVICE, V1_API + SERVICE])
@pytest.mark.parametrize("outcome", [ALLOCATED, REFUSED, THROTTLED])
def test_the_probe_is_one_visit(file: str, outcome: Any) -> None:
    """One shipment is read back and called for, the others wait; any response but another denial lifts the pause."""
    run = BatchRun(shipments=make_shipments("a b c", STEP, GROUP), file=file, paused=CALLS, probe="b")
    run.api.read_backs["b"], run.api.calls["b"] = [UNALLOCATED], [outcome]
    run_virtual(run.work())
    assert [(request.do, request.references) for request in run.api.requests] == [
        ("read", ("b",)),
        ("call", ("b",)),
    ]
    assert (run.ledger.resumed, run.alerts.resumptions) == (["acme"], [("acme", 5)])
    assert [run.ledger.verdicts(name) for name in ("a", "c")] == [["park"], ["park"]]


def test_the_refused_purpose_lifts_the_pause() -> None:
    """A good read-back lifts a pause of read-backs, but not a pause of calls."""
    reads = BatchRun(shipments=make_shipments("a"), paused=READS, probe="a")
    run_virtual(reads.work())
    assert reads.ledger.resumed == ["acme"]
    calls = BatchRun(shipments=make_shipments("a"), paused=CALLS, probe="a")
    calls.api.read_backs["a"] = [ALLOCATED]
    run_virtual(calls.work())
    assert calls.ledger.resumed == []


@pytest.mark.parametrize("outcome", [NO_ACCESS, FORBIDDEN, UNKNOWN])
def test_another_denial_does_not(outcome: Any) -> None:
    """A probe that is denied again prolongs the pause; a probe without a response leaves it unchanged."""
    run = BatchRun(shipments=make_shipments("a"), paused=CALLS, probe="a")
    run.api.read_backs["a"], run.api.calls["a"] = [UNALLOCATED], [outcome]
    run_virtual(run.work())
    assert (run.ledger.resumed, run.alerts.pauses) == (
        [],
        [("acme", outcome.message)] if outcome is not UNKNOWN else [],
    )
    assert [probe for _, _, _, probe in run.ledger.pauses] == (["a"] if outcome is not UNKNOWN else [])


@pytest.mark.parametrize(("last_good_at", "pauses"), [(NOW - 100, 1), (NOW - 1, 0)])
def test_a_403_that_others_do_not_get(last_good_at: float, pauses: int) -> None:
    """A shipment denied again, while the key had good responses for others since, does not pause the merchant."""
    run = BatchRun(shipments=make_shipments("a", denied_at=NOW - 50))
    run.api.calls["a"] = [FORBIDDEN]
    run.ledger.last_good_at["allocate"] = last_good_at
    run_virtual(run.work())
    last = run.ledger.last("a")
    assert (last.verdict, len(run.ledger.pauses)) == ("park", pauses)
    assert last.due - NOW == pytest.approx(PAUSED_WAIT_S if pauses else OWN_DENIAL_WAIT_S)


def test_a_403_right_after_a_good_response() -> None:
    """If the key worked recently, the first denied shipment waits alone, and only a second one pauses the merchant."""
    run = BatchRun(shipments=make_shipments("a b"))
    run.api.calls |= {name: [FORBIDDEN] for name in ("a", "b")}
    run.ledger.last_good_at["allocate"] = NOW - 5
    run_virtual(run.work())
    assert [pause.refused for _, pause, _, _ in run.ledger.pauses] == ["b"]
    assert [run.ledger.last(name).shipment.progress.denials for name in ("a", "b")] == [1, 0]
    assert run.ledger.last("a").due - NOW == pytest.approx(OWN_DENIAL_WAIT_S)


def test_quotes_are_a_purpose_of_their_own() -> None:
    """A merchant whose key may read and not get quotes is probed by quotes, and only those lift the pause."""
    file = V2_API + '[allocation]\nstrategy = { quote = "cheapest" }\n'
    plan = Quote(quote="cheapest")
    paused = BatchRun(shipments=make_shipments("a", plan), file=file)
    paused.api.quotes["a"] = [FORBIDDEN]
    run_virtual(paused.work())
    assert [(pause.purpose, pause.strategy) for _, pause, _, _ in paused.ledger.pauses] == [("quote", "quote cheapest")]
    for outcome, resumed in ((Quoted(reference="q"), ["acme"]), (NO_ACCESS, [])):
        probe = BatchRun(
            shipments=make_shipments("a", plan), file=file, probe="a", paused=Pause(why=WHY, purpose="quote")
        )
        probe.api.read_backs["a"], probe.api.quotes["a"] = [UNALLOCATED], [outcome]
        run_virtual(probe.work())
        assert probe.ledger.resumed == resumed
    assert [request.do for request in probe.api.requests] == ["read", "quote"]


def test_a_refusal_of_this_shipment_alone_lifts_the_pause() -> None:
    """A 403 for one shipment is no evidence against the key; the API's own error format shows that the key is read."""
    own = BatchRun(shipments=make_shipments("a", denied_at=NOW - 50), paused=CALLS, probe="a")
    own.api.read_backs["a"], own.api.calls["a"] = [UNALLOCATED], [FORBIDDEN]
    own.ledger.last_good_at["allocate"] = NOW - 1
    run_virtual(own.work())
    assert (own.ledger.resumed, own.ledger.pauses) == (["acme"], [])
    error = BatchRun(shipments=make_shipments("a"), paused=CALLS, probe="a")
    error.api.read_backs["a"], error.api.calls["a"] = [UNALLOCATED], [Unknown(reason="server_error", by_api=True)]
    run_virtual(error.work())
    assert error.ledger.resumed == ["acme"]
