"""Bulk calls: which shipments they carry, and what delays them."""

import pytest

from tasks.rules.backoff import RetryBudget
from tasks.rules.quiet_time import CLEARED_S
from tasks.work.grouping import READ_TOGETHER_S
from tasks.work.ports import Permit
from tests.factories.batch_run import Trial, several
from tests.factories.merchant_files import SERVICE, V1_API, V2_API
from tests.factories.scripted_api import After
from tests.factories.shipments import GROUP, HOUR_S, NOT_SENT, NOW, REFUSED, UNALLOCATED, UNKNOWN, VIRTUAL, opened
from tests.factories.shipments import SERVICE as STEP
from tests.factories.virtual_clock import play

V1 = V1_API + SERVICE
BULK = V2_API + "bulk = true\n" + SERVICE
OVER = opened(ago_s=HOUR_S)
BUSY = Permit(owned=True, busy=True)
LIMITED = V1 + "[limits]\nper_second = 5\n"
OPEN = Permit(owned=True, wait_s=30, park=True)


def numbered(count: int) -> str:
    """A number of references."""
    return " ".join(f"s{number}" for number in range(count))


@pytest.mark.parametrize(
    ("file", "sizes"), [(V1, [100, 100, 50]), (BULK, [100, 100, 50]), (V2_API + SERVICE, [1] * 250)]
)
def test_as_many_as_a_call_can_carry(file: str, sizes: list[int]) -> None:
    """Shipments with the same request share a call, as many as this API and strategy allow."""
    trial = Trial(shipments=several(numbered(250)), file=file)
    play(trial.work())
    assert [len(references) for _, references in trial.api.called] == sizes
    assert len({name for _, references in trial.api.called for name in references}) == 250
    assert len(trial.ledger.written) == 250


def test_only_equal_requests_share_a_call() -> None:
    """Shipments are grouped by their request; a strategy without bulk calls calls one by one."""
    mixed = [*several("a b"), *several("c d", GROUP), *several("e", VIRTUAL, STEP, step=1)]
    trial = Trial(shipments=mixed, file=V1)
    play(trial.work())
    assert sorted(trial.api.called) == [
        ("carrier_service S", ("a", "b", "e")),
        ("service_group G", ("c",)),
        ("service_group G", ("d",)),
    ]


def test_shipments_that_need_a_read_back_join_the_call() -> None:
    """Shipments that need a read-back are read concurrently, and then share the bulk call with the others."""
    trial = Trial(shipments=[*several("a b"), *several("c d e", **OVER)], file=V1)
    trial.api.readings |= {name: [After(seconds=0.5, answer=UNALLOCATED)] for name in ("c", "d")}
    play(trial.work())
    assert sorted(trial.api.read) == ["c", "d", "e"]
    assert trial.api.times("read") == [0, 0, 0]
    assert [sorted(names) for _, names in trial.api.called] == [["a", "b", "c", "d"]]
    assert trial.api.times("call") == pytest.approx([0.5])
    assert trial.ledger.verdicts("e") == ["allocated"]


def test_a_slow_read_back_does_not_delay_the_call() -> None:
    """A shipment whose read-back takes longer than `READ_TOGETHER_S` continues alone."""
    trial = Trial(shipments=[*several("a b"), *several("c", **OVER)], file=V1)
    trial.api.readings["c"] = [After(seconds=9, answer=UNALLOCATED)]
    play(trial.to_the_end())
    assert [names for _, names in trial.api.called] == [("a", "b"), ("c",)]
    assert trial.api.times("call") == pytest.approx([READ_TOGETHER_S, 9])


def test_a_read_back_that_is_too_old_is_repeated() -> None:
    """A shipment that waited so long for a slot that its read-back is too old is read back again."""
    trial = Trial(shipments=several("a b", **OVER), file=V1)
    trial.api.readings |= {name: [UNALLOCATED] * 2 for name in ("a", "b")}
    trial.ledger.permits["a"] = [Permit(owned=True), *[BUSY] * 60]
    play(trial.visit_by_visit(until_s=60))
    (call,) = trial.api.times("call")
    assert [at for at in trial.api.times("read") if call - CLEARED_S <= at <= call] != []
    assert trial.ledger.verdicts("a")[-1] == "allocated"


def test_each_has_its_own_outcome() -> None:
    """After one bulk call some shipments are settled, some fall back, and open ones are read back one by one."""
    trial = Trial(shipments=several("a b c", STEP, GROUP), file=V1)
    trial.api.calls |= {"b": [REFUSED], "c": [UNKNOWN]}
    play(trial.work())
    assert [trial.ledger.verdicts(name) for name in ("a", "b", "c")] == [["allocated"], ["hand"], ["keep", "allocated"]]
    assert trial.api.read == ["c"]


def test_shipments_without_a_lease_are_left_out() -> None:
    """A shipment that another task claimed meanwhile is not in the call; the others are."""
    trial = Trial(shipments=several("a b c"), file=V1)
    trial.ledger.permits["b"] = [Permit(owned=False)]
    batch = play(trial.work())
    assert trial.api.called == [("carrier_service S", ("a", "c"))]
    assert trial.ledger.verdicts("b") == []
    assert batch.owned == {}


def test_a_bulk_call_takes_one_slot() -> None:
    """A bulk call counts once against the merchant's calls per second; each shipment gets its permit."""
    trial = Trial(shipments=several("a b c"), file=LIMITED)
    play(trial.work())
    assert [(ask.shipment.reference, ask.purpose, ask.per_second) for ask in trial.ledger.asked] == [
        ("a", "allocate", 5),
        ("b", "allocate", 0),
        ("c", "allocate", 0),
    ]
    assert {ask.api for ask in trial.ledger.asked} == {"api.test#1"}


def test_a_call_waits_for_its_permit() -> None:
    """A call that is permitted after a short wait waits for it."""
    for file in (V1, V2_API + SERVICE):
        trial = Trial(shipments=several("a b"), file=file)
        trial.ledger.permits["a"] = [Permit(owned=True, wait_s=0.75)]
        play(trial.work())
        assert trial.ledger.when("a") == pytest.approx(0.75)


def test_delayed_shipments_are_parked() -> None:
    """A shipment delayed by a breaker or a limit is parked unchanged: no call, no attempt, no entry."""
    trial = Trial(shipments=several("a", attempts=2, waits=3))
    trial.ledger.permits["a"] = [OPEN]
    play(trial.work())
    last = trial.ledger.last("a")
    assert (last.verdict, last.entry, last.shipment.progress) == ("park", None, trial.shipments[0].progress)
    assert NOW + 30 <= last.due <= NOW + 45
    assert trial.alarms == [pytest.approx(last.due - NOW)]
    assert trial.api.called == []


def test_a_delay_of_the_first_delays_the_bulk_call() -> None:
    """If the first permit of a bulk call is delayed, nothing is sent, and no permits are requested for the others."""
    trial = Trial(shipments=several("a b c"), file=LIMITED)
    trial.ledger.permits["a"] = [OPEN]
    play(trial.work())
    assert trial.api.called == []
    assert [trial.ledger.verdicts(name) for name in ("a", "b", "c")] == [["park"]] * 3
    assert [(ask.shipment.reference, ask.per_second) for ask in trial.ledger.asked] == [("a", 5)]


def test_a_read_back_waits_for_its_permit() -> None:
    """A read-back needs a permit like a call; without one the shipment is parked with its open call."""
    trial = Trial(shipments=several("a", **OVER))
    trial.ledger.permits["a"] = [OPEN]
    play(trial.work())
    assert [ask.purpose for ask in trial.ledger.asked] == ["read"]
    assert trial.ledger.last("a").shipment.progress.open_kind == "unknown"
    assert trial.api.read == []


def test_without_budget_a_bad_response_ends_the_visit() -> None:
    """While an API responds badly few calls are retried at once, and the other shipments are parked."""
    budget = RetryBudget()
    trial = Trial(shipments=several(numbered(50)), budget=budget)
    trial.api.calls |= {f"s{number}": [NOT_SENT] * 9 for number in range(50)}
    play(trial.to_the_end())
    assert len(trial.api.called) == 50 + RetryBudget.MOST
    assert {trial.ledger.verdicts(f"s{number}")[-1] for number in range(50)} == {"park"}


def test_a_bulk_call_is_the_first_try_of_each() -> None:
    """A bulk call that was not sent is retried alone, until each shipment has had the four calls of a visit."""
    trial = Trial(shipments=several("a b"), file=V1)
    trial.api.calls |= {"a": [NOT_SENT] * 9, "b": [NOT_SENT] * 9}
    play(trial.to_the_end())
    assert sorted(len(references) for _, references in trial.api.called) == [1] * 6 + [2]


def test_shipments_without_a_permit_are_left_out() -> None:
    """A call carries only permitted shipments: a breaker that permits one probe permits a single shipment."""
    trial = Trial(shipments=several("a b c"), file=V1)
    trial.ledger.permits |= {"b": [OPEN], "c": [OPEN]}
    play(trial.work())
    assert trial.api.called == [("carrier_service S", ("a",))]
    assert [trial.ledger.verdicts(name) for name in ("a", "b", "c")] == [["allocated"], ["park"], ["park"]]


def test_a_slow_bulk_call() -> None:
    """Shipments that share a call are all settled when its response arrives."""
    trial = Trial(shipments=several("a b"), file=V1)
    trial.api.calls["a"] = [After(seconds=7, answer=REFUSED)]
    play(trial.to_the_end())
    assert [trial.ledger.when(name) for name in ("a", "b")] == pytest.approx([7, 7])
