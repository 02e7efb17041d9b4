"""Requests: permitted by the ledger, written in time, within the limits of the merchant file, and not too late."""

import asyncio
from typing import Any

import pytest

from config.strategies.catalogue import AnyStrategy
from config.strategies.quote import Quote
from tasks.rules.outcome import NotSent, Unknown
from tasks.work.ports import Permit
from tasks.work.requests import MAX_PERMITS, WRITTEN_WITHIN_S
from tests.factories.batch_run import Trial, several
from tests.factories.memory_ledger import MemoryLedger
from tests.factories.merchant_files import SERVICE, V1_API, V2_API
from tests.factories.scripted_api import After
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
    opened,
)
from tests.factories.virtual_clock import play

V2 = V2_API + SERVICE
TWO = "[limits]\nin_flight = 2\n"
FIVE_A_SECOND = "[limits]\nper_second = 5\n"
OVER = opened(ago_s=HOUR_S)
EXPIRED = NotSent(reason="permit_expired")
BUSY = Permit(owned=True, busy=True)
NAMES = "a b c d e f"


@pytest.fixture
def jumping_boottime(monkeypatch: pytest.MonkeyPatch) -> None:
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
    trial = Trial(shipments=several("a b c", *plan), file=file)
    play(trial.work())
    assert trial.ledger.admitted_at_once == at_once
    assert [trial.ledger.verdicts(name) for name in "abc"] == [["allocated"]] * 3


@pytest.mark.parametrize("file", [V2, V1_API + SERVICE])
def test_an_unreadable_response_sends_an_alert(file: str) -> None:
    """An alert is sent with the reason, and the same text is in the shipment's history."""
    answer = Unknown(reason="unreadable_response", message="content-encoding br: JSON: Expecting value")
    trial = Trial(shipments=several("a b"), file=file)
    trial.api.calls |= {"a": [answer], "b": [answer]}
    play(trial.to_the_end())
    assert set(trial.told.unread) == {("a", answer.message), ("b", answer.message)}
    assert answer.message in str(trial.ledger.stories["a"])


@pytest.mark.parametrize("file", [V2, V1_API + SERVICE])
def test_an_expired_permit_is_requested_again(file: str) -> None:
    """A request not written in time was not made: its permit is requested again, and no attempt is counted."""
    trial = Trial(shipments=several("a b"), file=file)
    trial.api.calls |= {"a": [EXPIRED], "b": [EXPIRED]}
    play(trial.work())
    for name in ("a", "b"):
        assert [ask.purpose for ask in trial.ledger.asked if ask.shipment.reference == name] == ["allocate"] * 2
        assert trial.ledger.verdicts(name) == ["allocated"]
        assert trial.ledger.last(name).shipment.progress.attempts == 1


@pytest.mark.parametrize("file", [V2, V1_API + SERVICE])
def test_after_some_expired_permits_it_waits(file: str) -> None:
    """A process that stalls repeatedly parks the shipment; nothing was sent, so nothing is open."""
    trial = Trial(shipments=several("a b", attempts=3), file=file)
    trial.api.calls |= {"a": [EXPIRED] * 99, "b": [EXPIRED] * 99}
    play(trial.work())
    calls = [references for _, references in trial.api.called if "a" in references]
    assert len(calls) == MAX_PERMITS
    for name in ("a", "b"):
        last = trial.ledger.last(name)
        assert (last.verdict, last.entry, last.shipment.progress) == ("park", None, trial.shipments[0].progress)
        assert last.due >= NOW + WRITTEN_WITHIN_S


@pytest.mark.usefixtures("jumping_boottime")
@pytest.mark.parametrize("file", [V2, V1_API + SERVICE])
def test_it_is_written_within_a_second_of_the_permit_request(file: str) -> None:
    """The second counts from the request that returned the permit, not from an earlier one."""
    trial = Trial(shipments=several("a b"), file=file)
    trial.ledger.permits |= {"a": [BUSY] * 20, "b": [Permit(owned=True, wait_s=0.4)]}
    play(trial.to_the_end())
    for feedback in trial.api.feedback:
        assert feedback.at <= feedback.write_by <= feedback.at + WRITTEN_WITHIN_S
    (last,) = (feedback for feedback in trial.api.feedback if "a" in feedback.references)
    assert last.at >= 2
    assert last.write_by == pytest.approx(last.at + WRITTEN_WITHIN_S)


@pytest.mark.parametrize("answers", [[ALLOCATED], [REFUSED], [NOT_SENT] * 9, [UNKNOWN]])
def test_calls_in_flight_are_limited(answers: list[Any]) -> None:
    """Calls and read-backs of a batch take turns, and every slot is returned, whatever the outcome."""
    trial = Trial(shipments=several(NAMES), file=V2 + TWO)
    trial.api.calls |= {name: [After(seconds=1, answer=answer) for answer in answers] for name in NAMES.split()}
    trial.api.readings |= {name: [After(seconds=1, answer=ALLOCATED)] for name in NAMES.split()}
    play(trial.to_the_end())
    assert trial.api.most_on_wire == 2
    assert trial.ledger.on_wire == set()
    assert trial.ledger.holders == {}
    assert len(trial.ledger.asked) == len(trial.api.feedback), (
        "a request that waits for calls of its own batch requests no permit"
    )


def test_a_bulk_call_takes_one_slot() -> None:
    """Three calls for two shipments each, at most two at a time."""
    limited = V1_API + SERVICE + TWO
    trial = Trial(
        shipments=[*several("a b"), *several("c d", group_size=2), *several("e f", group_size=3)], file=limited
    )
    trial.api.calls |= {name: [After(seconds=1, answer=ALLOCATED)] for name in NAMES.split()}
    play(trial.to_the_end())
    assert trial.api.most_on_wire == 2
    assert trial.ledger.on_wire == set()
    assert sorted(len(references) for _, references in trial.api.called) == [2, 2, 2]


@pytest.mark.parametrize("file", [V2 + TWO, V1_API + SERVICE + TWO])
def test_other_workers_calls_count_too(file: str) -> None:
    """While all slots are taken elsewhere nothing is sent; after some seconds the shipments are parked."""
    trial = Trial(shipments=several("a b"), file=file, ledger=MemoryLedger(others_on_wire=2))
    play(trial.to_the_end())
    assert trial.api.feedback == []
    for name in ("a", "b"):
        last = trial.ledger.last(name)
        assert (last.verdict, last.entry) == ("park", None)
        assert last.due >= NOW + trial.ledger.when(name) + 0.9
        assert 5 <= trial.ledger.when(name) <= 11
    assert trial.ledger.on_wire == set()


def test_an_unused_slot_is_returned() -> None:
    """A breaker's probe, or a slot, that a shipment took and did not use is free for the next one."""
    trial = Trial(shipments=several("a"))
    trial.ledger.permits["a"] = [Permit(owned=True, slot=True), Permit(owned=True, park=True, wait_s=5)]
    trial.api.calls["a"] = [EXPIRED]
    play(trial.work())
    assert [(report.verdict, report.slot) for report in trial.ledger.reports("a")] == [("park", True)]
    kept = Trial(shipments=several("a"))
    kept.ledger.permits["a"] = [Permit(owned=True, slot=True)] * 2
    kept.api.calls["a"] = [NOT_SENT]
    play(kept.to_the_end())
    assert [report.slot for report in kept.ledger.reports("a")] == [True, True]


def test_a_read_back_admits_the_call_that_follows() -> None:
    """A bulk call counts once against the calls per second; a further call counts again."""
    trial = Trial(shipments=several("a", **OVER), file=V2 + FIVE_A_SECOND)
    trial.api.readings["a"] = [UNALLOCATED]
    trial.api.calls["a"] = [NOT_SENT, NOT_SENT]
    play(trial.to_the_end())
    asked = [(ask.purpose, ask.per_second) for ask in trial.ledger.asked]
    assert asked == [("read", 5), ("allocate", 0), ("allocate", 5), ("allocate", 5)]


def test_read_backs_admit_a_bulk_call() -> None:
    """Each read-back takes a slot, and the bulk call after them counts against no rate limit."""
    trial = Trial(shipments=several("a b", **OVER), file=V1_API + SERVICE + FIVE_A_SECOND)
    trial.api.readings |= {name: [UNALLOCATED] for name in ("a", "b")}
    play(trial.to_the_end())
    asked = [(ask.purpose, ask.per_second) for ask in trial.ledger.asked]
    assert asked == [("read", 5), ("read", 5), ("allocate", 0), ("allocate", 0)]


@pytest.mark.parametrize("file", [V2, V1_API + SERVICE])
def test_a_read_back_is_valid_for_ten_seconds(file: str) -> None:
    """A call that would be sent after that time is not sent: the shipment is read back again, on its next visit."""
    trial = Trial(shipments=several("a b", **OVER), file=file)
    trial.api.readings |= {name: [UNALLOCATED] * 2 for name in ("a", "b")}
    trial.ledger.permits["a"] = [Permit(owned=True), Permit(owned=True, wait_s=10.5, slot=True)]
    trial.ledger.permits["b"] = [Permit(owned=True), Permit(owned=True, wait_s=9.5, slot=True)]
    play(trial.to_the_end())
    last = trial.ledger.last("a")
    assert (last.verdict, last.slot, last.shipment.progress.attempts) == ("park", True, 1)
    assert last.due == 0  # at once
    assert [names for _, names in trial.api.called if "a" in names] == []


def test_a_read_back_that_is_too_old_is_repeated() -> None:
    """A slow call that was not sent after all is repeated after another read-back, in the same visit."""
    trial = Trial(shipments=several("a", **OVER))
    trial.api.readings["a"] = [UNALLOCATED] * 2
    trial.api.calls["a"] = [After(seconds=12, answer=NOT_SENT)]
    play(trial.to_the_end())
    assert [feedback.do for feedback in trial.api.feedback] == ["read", "call", "read", "call"]
    assert trial.ledger.verdicts("a") == ["keep", "keep", "keep", "allocated"]


@pytest.mark.parametrize(("wait_s", "calls"), [(4, 1), (6, 0)])
@pytest.mark.parametrize("file", [V2, V1_API + SERVICE])
def test_no_call_starts_too_late(file: str, wait_s: float, calls: int) -> None:
    """A call does not start with less than its timeout and a quiet time left to the deadline."""
    trial = Trial(shipments=several("a b", age_s=48 * HOUR_S - TIMEOUT_S - QUIET_S - 5), file=file)
    trial.ledger.permits |= {name: [Permit(owned=True, wait_s=wait_s)] for name in ("a", "b")}
    play(trial.to_the_end())
    assert len([names for _, names in trial.api.called if "a" in names]) == calls
    assert trial.ledger.verdicts("a") == (["allocated"] if calls else ["park"])


def test_an_uncertain_clock() -> None:
    """A read-back counts as sent as early as it may have been: one right after the end is repeated once, not often."""
    trial = Trial(shipments=several("a", **opened(ago_s=QUIET_S)), ledger=MemoryLedger(unsure_s=0.25))
    trial.api.readings["a"] = [UNALLOCATED] * 9
    play(trial.to_the_end())
    assert trial.api.times("read") == pytest.approx([0, 0.1, 0.2, 0.25], abs=0.01)
    assert trial.api.times("call") == pytest.approx([0.25], abs=0.01)


def test_a_repeated_call_is_reported() -> None:
    """A call after an open one is counted, logged and in the history; its carrier is rechecked a quiet time later."""
    trial = Trial(shipments=[*several("a c", **OVER), *several("b")])
    trial.api.readings |= {"a": [UNALLOCATED], "c": [UNALLOCATED]}
    trial.api.calls["c"] = [NOT_SENT, ALLOCATED]
    play(trial.to_the_end())
    assert sorted(trial.told.again) == ["a", "c"]
    last = trial.ledger.last("a")
    assert (last.verdict, last.repeated_calls, last.due) == ("allocated", 1, NOW + QUIET_S)
    assert last.entry is not None
    assert last.entry["repeated"] is True
    not_sent = trial.ledger.reports("c")[1]
    assert (not_sent.repeated_calls, "repeated" in (not_sent.entry or {})) == (0, False)
    assert (trial.ledger.last("b").repeated_calls, trial.ledger.last("b").due) == (0, 0)


def test_the_call_of_a_lost_worker_is_reported_by_the_next_owner() -> None:
    """A call after an open one whose worker was lost is counted and logged once, by the next owner of the shipment."""
    trial = Trial(shipments=several("a", **OVER, repeated_calls=1))
    trial.api.readings["a"] = [UNKNOWN, ALLOCATED]
    play(trial.to_the_end())
    assert trial.told.again == ["a"]
    assert [report.repeated_calls for report in trial.ledger.reports("a")] == [1, 0]
