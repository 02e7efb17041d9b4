"""Requests: permitted by the ledger, written in time, within the limits of the merchant file, and not too late."""

import asyncio
from typing import Any

import pytest

from config.strategies.catalogue import AnyStrategy
from config.strategies.quote import Quote
from tasks.rules.outcome import NotSent, Unknown
from tasks.work.ports import Permit
from tasks.work.requests import MAX_PERMITS, WRITTEN_WITHIN_S
from tests.factories.batch_run import BatchRun, make_shipments
from tests.factories.memory_ledger import MemoryLedger
from tests.factories.merchant_files import SERVICE, V1_API, V2_API
from tests.factories.scripted_api import Delayed
from tests.factories.shipments import (
    ALLOCATED,
    HOUR_S,
    NOT_SENT,
    NOW,
    QUIET_S,
    REFUSED,
    TIMEOUT_S,
    UNALLOCATED,
    UNKNOWN,
    open_call,
)
from tests.factories.virtual_clock import run_virtual

V2 = V2_API + SERVICE
TWO = "[limits]\nin_flight = 2\n"
FIVE_A_SECOND = "[limits]\nper_second = 5\n"
OVER = open_call(ago_s=HOUR_S)
EXPIRED = NotSent(reason="permit_expired")
BUSY = Permit(owned=True, busy=True)
NAMES = "a b c d e f"


@pytest.fixture
def virtual_boottime(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's clock follows the loop's time."""
    monkeypatch.setattr("time.clock_gettime", lambda _: asyncio.get_running_loop().time())


@pytest.mark.parametrize(
    ("file", "plan", "at_once"),
    [(V2, (), [3]), (V2 + TWO, (), []), (V2, (Quote(quote="cheapest"),), [])],
    ids=["calls", "places are few", "quotes come first"],
)
def test_first_calls_are_admitted_in_one_round_trip(
    file: str, plan: tuple[AnyStrategy, ...], at_once: list[int]
) -> None:
    """Shipments whose first requests are allocation calls that need not wait for each other."""
    run = BatchRun(shipments=make_shipments("a b c", *plan), file=file)
    run_virtual(run.work())
    assert run.ledger.permit_batches == at_once
    assert [run.ledger.verdicts(name) for name in "abc"] == [["allocated"]] * 3


@pytest.mark.parametrize("file", [V2, V1_API + SERVICE])
def test_an_unreadable_response_sends_an_alert(file: str) -> None:
    """An alert is sent with the reason, and the same text is in the shipment's history."""
    outcome = Unknown(reason="unreadable_response", message="content-encoding br: JSON: Expecting value")
    run = BatchRun(shipments=make_shipments("a b"), file=file)
    run.api.calls |= {"a": [outcome], "b": [outcome]}
    run_virtual(run.run_to_completion())
    assert set(run.alerts.unread) == {("a", outcome.message), ("b", outcome.message)}
    assert outcome.message in str(run.ledger.histories["a"])


@pytest.mark.parametrize("file", [V2, V1_API + SERVICE])
def test_an_expired_permit_is_requested_again(file: str) -> None:
    """A request not written in time was not made: its permit is requested again, and no attempt is counted."""
    run = BatchRun(shipments=make_shipments("a b"), file=file)
    run.api.calls |= {"a": [EXPIRED], "b": [EXPIRED]}
    run_virtual(run.work())
    for name in ("a", "b"):
        assert [each.purpose for each in run.ledger.permit_requests if each.shipment.reference == name] == [
            "allocate"
        ] * 2
        assert run.ledger.verdicts(name) == ["allocated"]
        assert run.ledger.last(name).shipment.progress.attempts == 1


@pytest.mark.parametrize("file", [V2, V1_API + SERVICE])
def test_after_some_expired_permits_it_waits(file: str) -> None:
    """A process that stalls repeatedly parks the shipment; nothing was sent, so nothing is open."""
    run = BatchRun(shipments=make_shipments("a b", attempts=3), file=file)
    run.api.calls |= {"a": [EXPIRED] * 99, "b": [EXPIRED] * 99}
    run_virtual(run.work())
    calls = [references for _, references in run.api.called if "a" in references]
    assert len(calls) == MAX_PERMITS
    for name in ("a", "b"):
        last = run.ledger.last(name)
        assert (last.verdict, last.entry, last.shipment.progress) == ("park", None, run.shipments[0].progress)
        assert last.due >= NOW + WRITTEN_WITHIN_S


@pytest.mark.usefixtures("virtual_boottime")
@pytest.mark.parametrize("file", [V2, V1_API + SERVICE])
def test_it_is_written_within_a_second_of_the_permit_request(file: str) -> None:
    """The second counts from the request that returned the permit, not from an earlier one."""
    run = BatchRun(shipments=make_shipments("a b"), file=file)
    run.ledger.permits |= {"a": [BUSY] * 20, "b": [Permit(owned=True, wait_s=0.4)]}
    run_virtual(run.run_to_completion())
    for request in run.api.requests:
        assert request.at <= request.write_by <= request.at + WRITTEN_WITHIN_S
    (last,) = (request for request in run.api.requests if "a" in request.references)
    assert last.at >= 2
    assert last.write_by == pytest.approx(last.at + WRITTEN_WITHIN_S)


@pytest.mark.parametrize("outcomes", [[ALLOCATED], [REFUSED], [NOT_SENT] * 9, [UNKNOWN]])
def test_calls_in_flight_are_limited(outcomes: list[Any]) -> None:
    """Calls and read-backs of a batch take turns, and every slot is returned, whatever the outcome."""
    run = BatchRun(shipments=make_shipments(NAMES), file=V2 + TWO)
    run.api.calls |= {name: [Delayed(seconds=1, result=outcome) for outcome in outcomes] for name in NAMES.split()}
    run.api.read_backs |= {name: [Delayed(seconds=1, result=ALLOCATED)] for name in NAMES.split()}
    run_virtual(run.run_to_completion())
    assert run.api.most_in_flight == 2
    assert run.ledger.in_flight == set()
    assert run.ledger.holders == {}
    assert len(run.ledger.permit_requests) == len(run.api.requests), (
        "a request that waits for calls of its own batch requests no permit"
    )


def test_a_bulk_call_takes_one_slot() -> None:
    """Three calls for two shipments each, at most two at a time."""
    limited = V1_API + SERVICE + TWO
    run = BatchRun(
        shipments=[*make_shipments("a b"), *make_shipments("c d", group_size=2), *make_shipments("e f", group_size=3)],
        file=limited,
    )
    run.api.calls |= {name: [Delayed(seconds=1, result=ALLOCATED)] for name in NAMES.split()}
    run_virtual(run.run_to_completion())
    assert run.api.most_in_flight == 2
    assert run.ledger.in_flight == set()
    assert sorted(len(references) for _, references in run.api.called) == [2, 2, 2]


@pytest.mark.parametrize("file", [V2 + TWO, V1_API + SERVICE + TWO])
def test_other_workers_calls_count_too(file: str) -> None:
    """While all slots are taken elsewhere nothing is sent; after some seconds the shipments are parked."""
    run = BatchRun(shipments=make_shipments("a b"), file=file, ledger=MemoryLedger(in_flight_elsewhere=2))
    run_virtual(run.run_to_completion())
    assert run.api.requests == []
    for name in ("a", "b"):
        last = run.ledger.last(name)
        assert (last.verdict, last.entry) == ("park", None)
        assert last.due >= NOW + run.ledger.when(name) + 0.9
        assert 5 <= run.ledger.when(name) <= 11
    assert run.ledger.in_flight == set()


def test_an_unused_slot_is_returned() -> None:
    """A breaker's probe, or a slot, that a shipment took and did not use is free for the next one."""
    run = BatchRun(shipments=make_shipments("a"))
    run.ledger.permits["a"] = [Permit(owned=True, slot=True), Permit(owned=True, park=True, wait_s=5)]
    run.api.calls["a"] = [EXPIRED]
    run_virtual(run.work())
    assert [(report.verdict, report.slot) for report in run.ledger.reports("a")] == [("park", True)]
    kept = BatchRun(shipments=make_shipments("a"))
    kept.ledger.permits["a"] = [Permit(owned=True, slot=True)] * 2
    kept.api.calls["a"] = [NOT_SENT]
    run_virtual(kept.run_to_completion())
    assert [report.slot for report in kept.ledger.reports("a")] == [True, True]


def test_a_read_back_admits_the_call_that_follows() -> None:
    """A bulk call counts once against the calls per second; a further call counts again."""
    run = BatchRun(shipments=make_shipments("a", **OVER), file=V2 + FIVE_A_SECOND)
    run.api.read_backs["a"] = [UNALLOCATED]
    run.api.calls["a"] = [NOT_SENT, NOT_SENT]
    run_virtual(run.run_to_completion())
    permits = [(each.purpose, each.per_second) for each in run.ledger.permit_requests]
    assert permits == [("read", 5), ("allocate", 0), ("allocate", 5), ("allocate", 5)]


def test_read_backs_admit_a_bulk_call() -> None:
    """Each read-back takes a slot, and the bulk call after them counts against no rate limit."""
    run = BatchRun(shipments=make_shipments("a b", **OVER), file=V1_API + SERVICE + FIVE_A_SECOND)
    run.api.read_backs |= {name: [UNALLOCATED] for name in ("a", "b")}
    run_virtual(run.run_to_completion())
    permits = [(each.purpose, each.per_second) for each in run.ledger.permit_requests]
    assert permits == [("read", 5), ("read", 5), ("allocate", 0), ("allocate", 0)]


@pytest.mark.parametrize("file", [V2, V1_API + SERVICE])
def test_a_read_back_is_valid_for_ten_seconds(file: str) -> None:
    """A call that would be sent after that time is not sent: the shipment is read back again, on its next visit."""
    run = BatchRun(shipments=make_shipments("a b", **OVER), file=file)
    run.api.read_backs |= {name: [UNALLOCATED] * 2 for name in ("a", "b")}
    run.ledger.permits["a"] = [Permit(owned=True), Permit(owned=True, wait_s=10.5, slot=True)]
    run.ledger.permits["b"] = [Permit(owned=True), Permit(owned=True, wait_s=9.5, slot=True)]
    run_virtual(run.run_to_completion())
    last = run.ledger.last("a")
    assert (last.verdict, last.slot, last.shipment.progress.attempts) == ("park", True, 1)
    assert last.due == 0  # at once
    assert [names for _, names in run.api.called if "a" in names] == []


def test_a_read_back_that_is_too_old_is_repeated() -> None:
    """A slow call that was not sent after all is repeated after another read-back, in the same visit."""
    run = BatchRun(shipments=make_shipments("a", **OVER))
    run.api.read_backs["a"] = [UNALLOCATED] * 2
    run.api.calls["a"] = [Delayed(seconds=12, result=NOT_SENT)]
    run_virtual(run.run_to_completion())
    assert [request.do for request in run.api.requests] == ["read", "call", "read", "call"]
    assert run.ledger.verdicts("a") == ["keep", "keep", "keep", "allocated"]


@pytest.mark.parametrize(("wait_s", "calls"), [(4, 1), (6, 0)])
@pytest.mark.parametrize("file", [V2, V1_API + SERVICE])
def test_no_call_starts_too_late(file: str, wait_s: float, calls: int) -> None:
    """A call does not start with less than its timeout and a quiet time left to the deadline."""
    run = BatchRun(shipments=make_shipments("a b", age_s=48 * HOUR_S - TIMEOUT_S - QUIET_S - 5), file=file)
    run.ledger.permits |= {name: [Permit(owned=True, wait_s=wait_s)] for name in ("a", "b")}
    run_virtual(run.run_to_completion())
    assert len([names for _, names in run.api.called if "a" in names]) == calls
    assert run.ledger.verdicts("a") == (["allocated"] if calls else ["park"])


def test_an_uncertain_clock() -> None:
    """A read-back counts as sent as early as it may have been: one right after the end is repeated once, not often."""
    run = BatchRun(
        shipments=make_shipments("a", **open_call(ago_s=QUIET_S)), ledger=MemoryLedger(clock_uncertainty_s=0.25)
    )
    run.api.read_backs["a"] = [UNALLOCATED] * 9
    run_virtual(run.run_to_completion())
    assert run.api.times("read") == pytest.approx([0, 0.1, 0.2, 0.25], abs=0.01)
    assert run.api.times("call") == pytest.approx([0.25], abs=0.01)


def test_a_repeated_call_is_reported() -> None:
    """A call after an open one is counted, logged and in the history; its carrier is rechecked a quiet time later."""
    run = BatchRun(shipments=[*make_shipments("a c", **OVER), *make_shipments("b")])
    run.api.read_backs |= {"a": [UNALLOCATED], "c": [UNALLOCATED]}
    run.api.calls["c"] = [NOT_SENT, ALLOCATED]
    run_virtual(run.run_to_completion())
    assert sorted(run.alerts.again) == ["a", "c"]
    last = run.ledger.last("a")
    assert (last.verdict, last.repeated_calls, last.due) == ("allocated", 1, NOW + QUIET_S)
    assert last.entry is not None
    assert last.entry["repeated"] is True
    not_sent = run.ledger.reports("c")[1]
    assert (not_sent.repeated_calls, "repeated" in (not_sent.entry or {})) == (0, False)
    assert (run.ledger.last("b").repeated_calls, run.ledger.last("b").due) == (0, 0)


def test_the_call_of_a_lost_worker_is_reported_by_the_next_owner() -> None:
    """A call after an open one whose worker was lost is counted and logged once, by the next owner of the shipment."""
    run = BatchRun(shipments=make_shipments("a", **OVER, repeated_calls=1))
    run.api.read_backs["a"] = [UNKNOWN, ALLOCATED]
    run_virtual(run.run_to_completion())
    assert run.alerts.again == ["a"]
    assert [report.repeated_calls for report in run.ledger.reports("a")] == [1, 0]
