"""One call for many shipments: who goes together, who goes alone, and what stands in the way."""

import pytest

from tasks.rules.backoff import RetryBudget
from tasks.rules.quiet_time import CLEARED_S
from tasks.work.grouping import READ_TOGETHER_S
from tasks.work.ports import Permit
from tests.factories.merchant_files import SERVICE, V1_API, V2_API
from tests.factories.scripted_api import After
from tests.factories.shipments import GROUP, HOUR_S, NOT_SENT, NOW, REFUSED, UNALLOCATED, UNKNOWN, VIRTUAL, opened
from tests.factories.shipments import SERVICE as STEP
from tests.factories.trial import Trial, several
from tests.factories.virtual_clock import play

V1 = V1_API + SERVICE
BULK = V2_API + "bulk = true\n" + SERVICE
OVER = opened(ago_s=HOUR_S)
BUSY = Permit(owned=True, busy=True)
LIMITED = V1 + "[limits]\nper_second = 5\n"
OPEN = Permit(owned=True, wait_s=30, park=True)


def numbered(count: int) -> str:
    """So many references."""
    return " ".join(f"s{number}" for number in range(count))


@pytest.mark.parametrize(
    ("file", "sizes"), [(V1, [100, 100, 50]), (BULK, [100, 100, 50]), (V2_API + SERVICE, [1] * 250)]
)
def test_as_many_as_a_call_can_carry(file: str, sizes: list[int]) -> None:
    """Shipments that ask for the same go together, as many as one call of this API and strategy takes."""
    trial = Trial(shipments=several(numbered(250)), file=file)
    play(trial.work())
    assert [len(references) for _, references in trial.api.called] == sizes
    assert len({name for _, references in trial.api.called for name in references}) == 250
    assert len(trial.ledger.written) == 250


def test_only_the_same_go_together() -> None:
    """Shipments are grouped by what they ask for, and a strategy that knows no "many" goes one by one."""
    mixed = [*several("a b"), *several("c d", GROUP), *several("e", VIRTUAL, STEP, step=1)]
    trial = Trial(shipments=mixed, file=V1)
    play(trial.work())
    assert sorted(trial.api.called) == [
        ("carrier_service S", ("a", "b", "e")),
        ("service_group G", ("c",)),
        ("service_group G", ("d",)),
    ]


def test_who_must_be_read_back_is_in_the_call_all_the_same() -> None:
    """Who must be read back is read side by side, and then called for together with those who need not be."""
    trial = Trial(shipments=[*several("a b"), *several("c d e", **OVER)], file=V1)
    trial.api.readings |= {name: [After(seconds=0.5, answer=UNALLOCATED)] for name in ("c", "d")}
    play(trial.work())
    assert sorted(trial.api.read) == ["c", "d", "e"]
    assert trial.api.times("read") == [0, 0, 0]
    assert [sorted(names) for _, names in trial.api.called] == [["a", "b", "c", "d"]]
    assert trial.api.times("call") == pytest.approx([0.5])
    assert trial.ledger.verdicts("e") == ["allocated"]


def test_nobody_waits_long_for_a_slow_reading() -> None:
    """A shipment whose read-back takes longer than a few seconds goes on alone."""
    trial = Trial(shipments=[*several("a b"), *several("c", **OVER)], file=V1)
    trial.api.readings["c"] = [After(seconds=9, answer=UNALLOCATED)]
    play(trial.to_the_end())
    assert [names for _, names in trial.api.called] == [("a", "b"), ("c",)]
    assert trial.api.times("call") == pytest.approx([READ_TOGETHER_S, 9])


def test_a_reading_that_became_too_old_is_made_again() -> None:
    """Who waited so long for a place that the read-back does not allow the call any more is read once more."""
    trial = Trial(shipments=several("a b", **OVER), file=V1)
    trial.api.readings |= {name: [UNALLOCATED] * 2 for name in ("a", "b")}
    trial.ledger.permits["a"] = [Permit(owned=True), *[BUSY] * 60]
    play(trial.visit_by_visit(until_s=60))
    (call,) = trial.api.times("call")
    assert [at for at in trial.api.times("read") if call - CLEARED_S <= at <= call] != []
    assert trial.ledger.verdicts("a")[-1] == "allocated"


def test_each_has_its_own_outcome() -> None:
    """Of one call some are settled, some fall back, and those that are open are read back one by one."""
    trial = Trial(shipments=several("a b c", STEP, GROUP), file=V1)
    trial.api.calls |= {"b": [REFUSED], "c": [UNKNOWN]}
    play(trial.work())
    assert [trial.ledger.verdicts(name) for name in ("a", "b", "c")] == [["allocated"], ["hand"], ["keep", "allocated"]]
    assert trial.api.read == ["c"]


def test_who_is_not_held_is_left_out() -> None:
    """A shipment that another task took meanwhile is not in the call; the others are."""
    trial = Trial(shipments=several("a b c"), file=V1)
    trial.ledger.permits["b"] = [Permit(owned=False)]
    batch = play(trial.work())
    assert trial.api.called == [("carrier_service S", ("a", "c"))]
    assert trial.ledger.verdicts("b") == []
    assert batch.owned == {}


def test_one_call_takes_one_place() -> None:
    """Of the merchant's calls per second a common call takes one, and each shipment is held for it."""
    trial = Trial(shipments=several("a b c"), file=LIMITED)
    play(trial.work())
    assert [(ask.shipment.reference, ask.purpose, ask.per_second) for ask in trial.ledger.asked] == [
        ("a", "allocate", 5),
        ("b", "allocate", 0),
        ("c", "allocate", 0),
    ]
    assert {ask.api for ask in trial.ledger.asked} == {"api.test#1"}


def test_a_call_waits_for_its_place() -> None:
    """A call that may go out in a moment waits for it."""
    for file in (V1, V2_API + SERVICE):
        trial = Trial(shipments=several("a b"), file=file)
        trial.ledger.permits["a"] = [Permit(owned=True, wait_s=0.75)]
        play(trial.work())
        assert trial.ledger.when("a") == pytest.approx(0.75)


def test_what_is_held_up_is_parked() -> None:
    """A shipment before which a breaker or a limit stands is parked as it is: no call, no attempt, no entry."""
    trial = Trial(shipments=several("a", attempts=2, waits=3))
    trial.ledger.permits["a"] = [OPEN]
    play(trial.work())
    last = trial.ledger.last("a")
    assert (last.verdict, last.entry, last.shipment.progress) == ("park", None, trial.shipments[0].progress)
    assert NOW + 30 <= last.due <= NOW + 45
    assert trial.alarms == [pytest.approx(last.due - NOW)]
    assert trial.api.called == []


def test_what_holds_up_one_holds_up_all_of_a_call() -> None:
    """When the first of a common call is held up nothing goes out, and the others need not ask."""
    trial = Trial(shipments=several("a b c"), file=LIMITED)
    trial.ledger.permits["a"] = [OPEN]
    play(trial.work())
    assert trial.api.called == []
    assert [trial.ledger.verdicts(name) for name in ("a", "b", "c")] == [["park"]] * 3
    assert [(ask.shipment.reference, ask.per_second) for ask in trial.ledger.asked] == [("a", 5)]


def test_a_reading_waits_for_its_place_too() -> None:
    """Reading back needs leave like a call, and is parked with what is open when there is none."""
    trial = Trial(shipments=several("a", **OVER))
    trial.ledger.permits["a"] = [OPEN]
    play(trial.work())
    assert [ask.purpose for ask in trial.ledger.asked] == ["read"]
    assert trial.ledger.last("a").shipment.progress.open_kind == "unknown"
    assert trial.api.read == []


def test_without_budget_a_bad_answer_ends_the_visit() -> None:
    """While an API answers badly few calls are repeated at once, and the other shipments are parked."""
    budget = RetryBudget()
    trial = Trial(shipments=several(numbered(50)), budget=budget)
    trial.api.calls |= {f"s{number}": [NOT_SENT] * 9 for number in range(50)}
    play(trial.to_the_end())
    assert len(trial.api.called) == 50 + RetryBudget.MOST
    assert {trial.ledger.verdicts(f"s{number}")[-1] for number in range(50)} == {"park"}


def test_a_common_call_is_the_first_try_of_each() -> None:
    """What was not sent together is tried alone, until each has had its four calls of a visit."""
    trial = Trial(shipments=several("a b"), file=V1)
    trial.api.calls |= {"a": [NOT_SENT] * 9, "b": [NOT_SENT] * 9}
    play(trial.to_the_end())
    assert sorted(len(references) for _, references in trial.api.called) == [1] * 6 + [2]


def test_who_may_not_call_although_the_first_may_is_left_behind() -> None:
    """Only who was marked as called for is in a call: a breaker that lets one probe through lets a single shipment."""
    trial = Trial(shipments=several("a b c"), file=V1)
    trial.ledger.permits |= {"b": [OPEN], "c": [OPEN]}
    play(trial.work())
    assert trial.api.called == [("carrier_service S", ("a",))]
    assert [trial.ledger.verdicts(name) for name in ("a", "b", "c")] == [["allocated"], ["park"], ["park"]]


def test_a_slow_common_call_is_one() -> None:
    """Shipments that share a call are all settled when it is answered."""
    trial = Trial(shipments=several("a b"), file=V1)
    trial.api.calls["a"] = [After(seconds=7, answer=REFUSED)]
    play(trial.to_the_end())
    assert [trial.ledger.when(name) for name in ("a", "b")] == pytest.approx([7, 7])
