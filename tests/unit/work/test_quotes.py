"""A step that needs a quote: requested first, with its own permit, and not an allocation call."""

import pytest

from config.strategies.quote import Quote
from tasks.rules.outcome import NotYet, Quoted
from tests.factories.batch_run import BatchRun, make_shipments
from tests.factories.merchant_files import V2_API
from tests.factories.scripted_api import Delayed
from tests.factories.shipments import (
    FORBIDDEN,
    GROUP,
    HOUR_S,
    INVALID_STATE,
    NOT_SENT,
    NOW,
    QUEUED,
    REFUSED,
    UNALLOCATED,
    UNKNOWN,
    open_call,
)
from tests.factories.virtual_clock import run_virtual

FILE = V2_API + '[allocation]\nstrategy = { quote = "cheapest" }\n'
PLAN = (Quote(quote="cheapest"), GROUP)
EXPIRED = NotYet(reason="quote_expired")
OVER = open_call(ago_s=HOUR_S)


def test_the_chosen_quote_is_called_for() -> None:
    """Quotes are requested like a read-back; then the best one is called for, with its own permit, as one attempt."""
    run = BatchRun(shipments=make_shipments("a", *PLAN), file=FILE + "[limits]\nper_second = 5\n")
    run_virtual(run.work())
    assert [(request.do, request.quote) for request in run.api.requests] == [
        ("quote", None),
        ("call", "quote for a"),
    ]
    assert [(each.purpose, each.per_second) for each in run.ledger.permit_requests] == [
        ("quote", 5),
        ("allocate", 5),
    ]
    assert run.ledger.last("a").shipment.progress.attempts == 1


def test_no_quotes() -> None:
    """Without quotes the step is refused; the history records the request, and no attempt is counted."""
    run = BatchRun(shipments=make_shipments("a", *PLAN), file=FILE)
    run.api.quotes["a"] = [REFUSED]
    run_virtual(run.work())
    last = run.ledger.last("a")
    assert (last.verdict, last.shipment.progress.attempts, run.api.called) == ("hand", 0, [])
    assert last.entry is not None
    assert (last.entry["action"], last.entry["outcome"]) == ("quote", "refused")
    assert last.feedback is not None
    assert last.feedback.purpose == "quote"


def test_expired_quotes_are_bounded() -> None:
    """Expired quotes, also when they are called for, are requested again a few times; then the step is refused."""
    run = BatchRun(shipments=make_shipments("a", *PLAN), file=FILE)
    run.api.quotes["a"] = [EXPIRED, Quoted(reference="q"), EXPIRED]
    run.api.calls["a"] = [EXPIRED]
    run_virtual(run.work())
    assert [request.do for request in run.api.requests] == ["quote", "quote", "call", "quote"]
    assert (run.ledger.last("a").verdict, run.ledger.last("a").shipment.progress.attempts) == ("hand", 1)


def test_an_unknown_quote_request_is_not_an_open_call() -> None:
    """They are requested again at once; the call that follows is the first attempt."""
    run = BatchRun(shipments=make_shipments("a", *PLAN), file=FILE)
    run.api.quotes["a"] = [UNKNOWN, NOT_SENT]
    run_virtual(run.run_to_completion())
    assert [request.do for request in run.api.requests] == ["quote", "quote", "quote", "call"]
    assert (run.alerts.again, run.ledger.last("a").verdict) == ([], "allocated")


def test_an_invalid_state_is_bounded() -> None:
    """An API without quotes for an unallocated state gets a few requests, and then the shipment is parked."""
    run = BatchRun(shipments=make_shipments("a", *PLAN), file=FILE)
    run.api.quotes["a"], run.api.read_backs["a"] = [INVALID_STATE] * 99, [UNALLOCATED] * 99
    run_virtual(run.run_to_completion())
    assert len(run.api.requests) <= 6
    assert run.ledger.verdicts("a")[-1] == "park"
    assert run.ledger.last("a").shipment.progress.open_kind is None


def test_slow_quotes_are_kept() -> None:
    """If the request took so long that a read-back is due again, the call is sent afterwards with the same quote."""
    run = BatchRun(shipments=make_shipments("a", *PLAN, **OVER), file=FILE)
    run.api.read_backs["a"] = [UNALLOCATED] * 3
    run.api.quotes["a"] = [Delayed(seconds=15, result=Quoted(reference="slow"))]
    run_virtual(run.run_to_completion())
    assert [request.do for request in run.api.requests] == ["read", "quote", "read", "call"]
    assert run.api.requests[-1].quote == "slow"
    assert run.ledger.last("a").verdict == "allocated"


def test_a_quote_is_used_once() -> None:
    """A call that was not sent requests new quotes, as quotes expire."""
    run = BatchRun(shipments=make_shipments("a", *PLAN), file=FILE)
    run.api.calls["a"] = [NOT_SENT]
    run_virtual(run.run_to_completion())
    assert [request.do for request in run.api.requests] == ["quote", "call", "quote", "call"]


def test_one_slot_covers_quotes_and_call() -> None:
    """The quote request and its call use one slot, one after the other, which is returned."""
    run = BatchRun(shipments=make_shipments("a b", *PLAN), file=FILE + "[limits]\nin_flight = 1\n")
    for name in ("a", "b"):
        run.api.quotes[name] = [Delayed(seconds=1, result=Quoted(reference="q"))]
        run.api.calls[name] = [Delayed(seconds=1, result=QUEUED)]
    run_virtual(run.run_to_completion())
    assert (run.api.most_in_flight, run.ledger.in_flight) == (1, set())
    assert sorted(run.ledger.last(name).verdict for name in ("a", "b")) == ["allocated"] * 2


@pytest.mark.parametrize(("denials", "verdict"), [(0, "park"), (1, "hand")])
def test_a_403_for_one_shipment(denials: int, verdict: str) -> None:
    """A 403 for quotes of this shipment alone pauses nothing, and refuses the step the second time."""
    run = BatchRun(shipments=make_shipments("a", *PLAN, denied_at=NOW - 50, denials=denials), file=FILE)
    run.api.quotes["a"] = [FORBIDDEN]
    run.ledger.last_good_at["quote"] = NOW - 1
    run_virtual(run.run_to_completion())
    assert (run.ledger.last("a").verdict, run.ledger.pauses) == (verdict, [])
