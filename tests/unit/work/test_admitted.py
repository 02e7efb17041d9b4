"""First calls permitted with the claim: for which requests their permits are valid, and how long."""

import pytest

from config.strategies.quote import Quote
from tasks.rules.outcome import NotSent
from tasks.work.requests import WRITTEN_WITHIN_S
from tests.factories.batch_run import BatchRun, make_shipments
from tests.factories.merchant_files import SERVICE, V1_API, V2_API
from tests.factories.shipments import HOUR_S, NOT_SENT, UNALLOCATED, open_call
from tests.factories.virtual_clock import run_virtual

V1, V2 = V1_API + SERVICE, V2_API + SERVICE
TWO = "[limits]\nin_flight = 2\n"
FIVE_A_SECOND = "[limits]\nper_second = 5\n"
EXPIRED = NotSent(reason="permit_expired")


@pytest.mark.parametrize("file", [V2, V1])
def test_a_permit_with_the_claim(file: str) -> None:
    """No permit is requested for a first call permitted with the claim; its second counts from the claim."""
    run = BatchRun(shipments=make_shipments("a b"), file=file, permitted=frozenset("ab"), requested_at=-0.4)
    run_virtual(run.work())
    assert run.ledger.permit_requests == []
    assert {request.write_by for request in run.api.requests} == {WRITTEN_WITHIN_S - 0.4}
    assert [run.ledger.verdicts(name) for name in ("a", "b")] == [["allocated"]] * 2


@pytest.mark.parametrize("first", [NOT_SENT, EXPIRED])
@pytest.mark.parametrize("file", [V2, V1])
def test_it_permits_one_call(file: str, first: NotSent) -> None:
    """A further call of the visit requests its own permit, whether the first was written too late or not sent."""
    run = BatchRun(shipments=make_shipments("a b"), file=file, permitted=frozenset("ab"))
    run.api.calls |= {"a": [first], "b": [first]}
    run_virtual(run.run_to_completion())
    for name in ("a", "b"):
        assert [each.purpose for each in run.ledger.permit_requests if each.shipment.reference == name] == ["allocate"]
        assert run.ledger.verdicts(name)[-1] == "allocated"


def requested_permits(file: str, stopped: str = "") -> int:
    """How many permits are requested nevertheless for two shipments whose first calls were permitted."""
    run = BatchRun(
        shipments=make_shipments("a b"),
        file=file,
        permitted=frozenset("ab"),
        stopped=frozenset([stopped] if stopped else []),
    )
    run_virtual(run.work())
    assert [run.ledger.verdicts(name) for name in ("a", "b")] == [["allocated"]] * 2
    return len(run.ledger.permit_requests)


@pytest.mark.parametrize("file", [V2, V1])
def test_limits_and_breakers_invalidate_it(file: str) -> None:
    """The permit is not used if the merchant has limits, or if the breaker of the API or its host is open."""
    assert [requested_permits(file + limits) for limits in (TWO, FIVE_A_SECOND)] == [2, 2]
    assert [requested_permits(file, stopped) for stopped in ("b:api.test#1", "h:api.test")] == [2, 2]
    others = ("b:api.test#2", "h:other.test", "m:acme")
    assert [requested_permits(file, stopped) for stopped in others] == [0, 0, 0]


@pytest.mark.parametrize(("file", "at_once"), [(V2, 1), (V1, 2)])
def test_calls_without_one_request_one(file: str, at_once: int) -> None:
    """Calls without a permit request one; a bulk call uses its permits only if all its shipments have one."""
    run = BatchRun(shipments=make_shipments("a b"), file=file, permitted=frozenset("a"))
    run_virtual(run.work())
    assert len(run.ledger.permit_requests) == at_once
    assert [run.ledger.verdicts(name) for name in ("a", "b")] == [["allocated"]] * 2


@pytest.mark.parametrize("file", [V2, V1])
def test_it_permits_no_read_back(file: str) -> None:
    """A read-back or quote request requests a permit, and so does the call after it."""
    run = BatchRun(shipments=make_shipments("a b", **open_call(ago_s=HOUR_S)), file=file, permitted=frozenset("ab"))
    run.api.read_backs |= {name: [UNALLOCATED] for name in ("a", "b")}
    run_virtual(run.run_to_completion())
    assert sorted(each.purpose for each in run.ledger.permit_requests) == ["allocate"] * 2 + ["read"] * 2


def test_it_permits_no_quote_request() -> None:
    """A step that needs quotes requests its permits as usual."""
    run = BatchRun(shipments=make_shipments("a", Quote(quote="cheapest")), permitted=frozenset("a"))
    run_virtual(run.run_to_completion())
    assert [each.purpose for each in run.ledger.permit_requests] == ["quote", "allocate"]
