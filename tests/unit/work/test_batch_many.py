"""Bulk calls: which shipments they carry, and what delays them."""

import pytest

from tasks.rules.backoff import RetryBudget
from tasks.rules.quiet_time import CLEARED_S
from tasks.work.grouping import READ_TOGETHER_S
from tasks.work.ports import Permit
from tests.factories.batch_run import BatchRun, make_shipments
from tests.factories.merchant_files import SERVICE, V1_API, V2_API
from tests.factories.scripted_api import Delayed
from tests.factories.shipments import GROUP, HOUR_S, NOT_SENT, NOW, REFUSED, UNALLOCATED, UNKNOWN, VIRTUAL, open_call
from tests.factories.shipments import SERVICE as STEP
from tests.factories.virtual_clock import run_virtual

V1 = V1_API + SERVICE
BULK = V2_API + "bulk = true\n" + SERVICE
OVER = open_call(ago_s=HOUR_S)
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
    run = BatchRun(shipments=make_shipments(numbered(250)), file=file)
    run_virtual(run.work())
    assert [len(references) for _, references in run.api.called] == sizes
    assert len({name for _, references in run.api.called for name in references}) == 250
    assert len(run.ledger.written) == 250


def test_only_equal_requests_share_a_call() -> None:
    """Shipments are grouped by their request; a strategy without bulk calls calls one by one."""
    mixed = [*make_shipments("a b"), *make_shipments("c d", GROUP), *make_shipments("e", VIRTUAL, STEP, step=1)]
    run = BatchRun(shipments=mixed, file=V1)
    run_virtual(run.work())
    assert sorted(run.api.called) == [
        ("carrier_service S", ("a", "b", "e")),
        ("service_group G", ("c",)),
        ("service_group G", ("d",)),
    ]


def test_shipments_that_need_a_read_back_join_the_call() -> None:
    """Shipments that need a read-back are read concurrently, and then share the bulk call with the others."""
    run = BatchRun(shipments=[*make_shipments("a b"), *make_shipments("c d e", **OVER)], file=V1)
    run.api.read_backs |= {name: [Delayed(seconds=0.5, result=UNALLOCATED)] for name in ("c", "d")}
    run_virtual(run.work())
    assert sorted(run.api.read) == ["c", "d", "e"]
    assert run.api.times("read") == [0, 0, 0]
    assert [sorted(names) for _, names in run.api.called] == [["a", "b", "c", "d"]]
    assert run.api.times("call") == pytest.approx([0.5])
    assert run.ledger.verdicts("e") == ["allocated"]


def test_a_slow_read_back_does_not_delay_the_call() -> None:
    """A shipment whose read-back takes longer than `READ_TOGETHER_S` continues alone."""
    run = BatchRun(shipments=[*make_shipments("a b"), *make_shipments("c", **OVER)], file=V1)
    run.api.read_backs["c"] = [Delayed(seconds=9, result=UNALLOCATED)]
    run_virtual(run.run_to_completion())
    assert [names for _, names in run.api.called] == [("a", "b"), ("c",)]
    assert run.api.times("call") == pytest.approx([READ_TOGETHER_S, 9])


def test_a_read_back_that_is_too_old_is_repeated() -> None:
    """A shipment that waited so long for a slot that its read-back is too old is read back again."""
    run = BatchRun(shipments=make_shipments("a b", **OVER), file=V1)
    run.api.read_backs |= {name: [UNALLOCATED] * 2 for name in ("a", "b")}
    run.ledger.permits["a"] = [Permit(owned=True), *[BUSY] * 60]
    run_virtual(run.run_all_visits(until_s=60))
    (call,) = run.api.times("call")
    assert [at for at in run.api.times("read") if call - CLEARED_S <= at <= call] != []
    assert run.ledger.verdicts("a")[-1] == "allocated"


def test_each_has_its_own_outcome() -> None:
    """After one bulk call some shipments are settled, some fall back, and open ones are read back one by one."""
    run = BatchRun(shipments=make_shipments("a b c", STEP, GROUP), file=V1)
    run.api.calls |= {"b": [REFUSED], "c": [UNKNOWN]}
    run_virtual(run.work())
    assert [run.ledger.verdicts(name) for name in ("a", "b", "c")] == [["allocated"], ["hand"], ["keep", "allocated"]]
    assert run.api.read == ["c"]


def test_shipments_without_a_lease_are_left_out() -> None:
    """A shipment that another task claimed meanwhile is not in the call; the others are."""
    run = BatchRun(shipments=make_shipments("a b c"), file=V1)
    run.ledger.permits["b"] = [Permit(owned=False)]
    batch = run_virtual(run.work())
    assert run.api.called == [("carrier_service S", ("a", "c"))]
    assert run.ledger.verdicts("b") == []
    assert batch.owned == {}


def test_a_bulk_call_takes_one_slot() -> None:
    """A bulk call counts once against the merchant's calls per second; each shipment gets its permit."""
    run = BatchRun(shipments=make_shipments("a b c"), file=LIMITED)
    run_virtual(run.work())
    assert [(each.shipment.reference, each.purpose, each.per_second) for each in run.ledger.permit_requests] == [
        ("a", "allocate", 5),
        ("b", "allocate", 0),
        ("c", "allocate", 0),
    ]
    assert {each.api for each in run.ledger.permit_requests} == {"api.test#1"}


def test_a_call_waits_for_its_permit() -> None:
    """A call that is permitted after a short wait waits for it."""
    for file in (V1, V2_API + SERVICE):
        run = BatchRun(shipments=make_shipments("a b"), file=file)
        run.ledger.permits["a"] = [Permit(owned=True, wait_s=0.75)]
        run_virtual(run.work())
        assert run.ledger.when("a") == pytest.approx(0.75)


def test_delayed_shipments_are_parked() -> None:
    """A shipment delayed by a breaker or a limit is parked unchanged: no call, no attempt, no entry."""
    run = BatchRun(shipments=make_shipments("a", attempts=2, waits=3))
    run.ledger.permits["a"] = [OPEN]
    run_virtual(run.work())
    last = run.ledger.last("a")
    assert (last.verdict, last.entry, last.shipment.progress) == ("park", None, run.shipments[0].progress)
    assert NOW + 30 <= last.due <= NOW + 45
    assert run.wakeups == [pytest.approx(last.due - NOW)]
    assert run.api.called == []


def test_a_delay_of_the_first_delays_the_bulk_call() -> None:
    """If the first permit of a bulk call is delayed, nothing is sent, and no permits are requested for the others."""
    run = BatchRun(shipments=make_shipments("a b c"), file=LIMITED)
    run.ledger.permits["a"] = [OPEN]
    run_virtual(run.work())
    assert run.api.called == []
    assert [run.ledger.verdicts(name) for name in ("a", "b", "c")] == [["park"]] * 3
    assert [(each.shipment.reference, each.per_second) for each in run.ledger.permit_requests] == [("a", 5)]


def test_a_read_back_waits_for_its_permit() -> None:
    """A read-back needs a permit like a call; without one the shipment is parked with its open call."""
    run = BatchRun(shipments=make_shipments("a", **OVER))
    run.ledger.permits["a"] = [OPEN]
    run_virtual(run.work())
    assert [each.purpose for each in run.ledger.permit_requests] == ["read"]
    assert run.ledger.last("a").shipment.progress.open_kind == "unknown"
    assert run.api.read == []


def test_without_budget_a_bad_response_ends_the_visit() -> None:
    """While an API responds badly few calls are retried at once, and the other shipments are parked."""
    budget = RetryBudget()
    run = BatchRun(shipments=make_shipments(numbered(50)), budget=budget)
    run.api.calls |= {f"s{number}": [NOT_SENT] * 9 for number in range(50)}
    run_virtual(run.run_to_completion())
    assert len(run.api.called) == 50 + RetryBudget.MOST
    assert {run.ledger.verdicts(f"s{number}")[-1] for number in range(50)} == {"park"}


def test_a_bulk_call_is_the_first_try_of_each() -> None:
    """A bulk call that was not sent is retried alone, until each shipment has had the four calls of a visit."""
    run = BatchRun(shipments=make_shipments("a b"), file=V1)
    run.api.calls |= {"a": [NOT_SENT] * 9, "b": [NOT_SENT] * 9}
    run_virtual(run.run_to_completion())
    assert sorted(len(references) for _, references in run.api.called) == [1] * 6 + [2]


def test_shipments_without_a_permit_are_left_out() -> None:
    """A call carries only permitted shipments: a breaker that permits one probe permits a single shipment."""
    run = BatchRun(shipments=make_shipments("a b c"), file=V1)
    run.ledger.permits |= {"b": [OPEN], "c": [OPEN]}
    run_virtual(run.work())
    assert run.api.called == [("carrier_service S", ("a",))]
    assert [run.ledger.verdicts(name) for name in ("a", "b", "c")] == [["allocated"], ["park"], ["park"]]


def test_a_slow_bulk_call() -> None:
    """Shipments that share a call are all settled when its response arrives."""
    run = BatchRun(shipments=make_shipments("a b"), file=V1)
    run.api.calls["a"] = [Delayed(seconds=7, result=REFUSED)]
    run_virtual(run.run_to_completion())
    assert [run.ledger.when(name) for name in ("a", "b")] == pytest.approx([7, 7])
