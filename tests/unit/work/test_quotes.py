"""A step that needs a quote: requested first, with its own permit, and not an allocation call."""

import pytest

from config.strategies.quote import Quote
from tasks.rules.outcome import NotYet, Quoted
from tests.factories.batch_run import Trial, several
from tests.factories.merchant_files import V2_API
from tests.factories.scripted_api import After
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
    opened,
)
from tests.factories.virtual_clock import play

FILE = V2_API + '[allocation]\nstrategy = { quote = "cheapest" }\n'
PLAN = (Quote(quote="cheapest"), GROUP)
EXPIRED = NotYet(reason="quote_expired")
OVER = opened(ago_s=HOUR_S)


def test_the_chosen_quote_is_called_for() -> None:
    """Quotes are requested like a read-back; then the best one is called for, with its own permit, as one attempt."""
    trial = Trial(shipments=several("a", *PLAN), file=FILE + "[limits]\nper_second = 5\n")
    play(trial.work())
    assert [(feedback.do, feedback.quote) for feedback in trial.api.feedback] == [
        ("quote", None),
        ("call", "quote for a"),
    ]
    assert [(ask.purpose, ask.per_second) for ask in trial.ledger.asked] == [("quote", 5), ("allocate", 5)]
    assert trial.ledger.last("a").shipment.progress.attempts == 1


def test_no_quotes() -> None:
    """Without quotes the step is refused; the history records the request, and no attempt is counted."""
    trial = Trial(shipments=several("a", *PLAN), file=FILE)
    trial.api.quotes["a"] = [REFUSED]
    play(trial.work())
    last = trial.ledger.last("a")
    assert (last.verdict, last.shipment.progress.attempts, trial.api.called) == ("hand", 0, [])
    assert last.entry is not None
    assert (last.entry["action"], last.entry["outcome"]) == ("quote", "refused")
    assert last.feedback is not None
    assert last.feedback.purpose == "quote"


def test_expired_quotes_are_bounded() -> None:
    """Expired quotes, also when they are called for, are requested again a few times; then the step is refused."""
    trial = Trial(shipments=several("a", *PLAN), file=FILE)
    trial.api.quotes["a"] = [EXPIRED, Quoted(reference="q"), EXPIRED]
    trial.api.calls["a"] = [EXPIRED]
    play(trial.work())
    assert [feedback.do for feedback in trial.api.feedback] == ["quote", "quote", "call", "quote"]
    assert (trial.ledger.last("a").verdict, trial.ledger.last("a").shipment.progress.attempts) == ("hand", 1)


def test_an_unknown_quote_request_is_not_an_open_call() -> None:
    """They are requested again at once; the call that follows is the first attempt."""
    trial = Trial(shipments=several("a", *PLAN), file=FILE)
    trial.api.quotes["a"] = [UNKNOWN, NOT_SENT]
    play(trial.to_the_end())
    assert [feedback.do for feedback in trial.api.feedback] == ["quote", "quote", "quote", "call"]
    assert (trial.told.again, trial.ledger.last("a").verdict) == ([], "allocated")


def test_an_invalid_state_is_bounded() -> None:
    """An API without quotes for an unallocated state gets a few requests, and then the shipment is parked."""
    trial = Trial(shipments=several("a", *PLAN), file=FILE)
    trial.api.quotes["a"], trial.api.readings["a"] = [INVALID_STATE] * 99, [UNALLOCATED] * 99
    play(trial.to_the_end())
    assert len(trial.api.feedback) <= 6
    assert trial.ledger.verdicts("a")[-1] == "park"
    assert trial.ledger.last("a").shipment.progress.open_kind is None


def test_slow_quotes_are_kept() -> None:
    """If the request took so long that a read-back is due again, the call is sent afterwards with the same quote."""
    trial = Trial(shipments=several("a", *PLAN, **OVER), file=FILE)
    trial.api.readings["a"] = [UNALLOCATED] * 3
    trial.api.quotes["a"] = [After(seconds=15, answer=Quoted(reference="slow"))]
    play(trial.to_the_end())
    assert [feedback.do for feedback in trial.api.feedback] == ["read", "quote", "read", "call"]
    assert trial.api.feedback[-1].quote == "slow"
    assert trial.ledger.last("a").verdict == "allocated"


def test_a_quote_is_used_once() -> None:
    """A call that was not sent requests new quotes, as quotes expire."""
    trial = Trial(shipments=several("a", *PLAN), file=FILE)
    trial.api.calls["a"] = [NOT_SENT]
    play(trial.to_the_end())
    assert [feedback.do for feedback in trial.api.feedback] == ["quote", "call", "quote", "call"]


def test_one_slot_covers_quotes_and_call() -> None:
    """The quote request and its call use one slot, one after the other, which is returned."""
    trial = Trial(shipments=several("a b", *PLAN), file=FILE + "[limits]\nin_flight = 1\n")
    for name in ("a", "b"):
        trial.api.quotes[name] = [After(seconds=1, answer=Quoted(reference="q"))]
        trial.api.calls[name] = [After(seconds=1, answer=QUEUED)]
    play(trial.to_the_end())
    assert (trial.api.most_on_wire, trial.ledger.on_wire) == (1, set())
    assert sorted(trial.ledger.last(name).verdict for name in ("a", "b")) == ["allocated"] * 2


@pytest.mark.parametrize(("denials", "verdict"), [(0, "park"), (1, "hand")])
def test_a_403_of_its_own(denials: int, verdict: str) -> None:
    """A 403 for quotes of this shipment alone pauses nothing, and refuses the step the second time."""
    trial = Trial(shipments=several("a", *PLAN, denied_at=NOW - 50, denials=denials), file=FILE)
    trial.api.quotes["a"] = [FORBIDDEN]
    trial.ledger.good_at["quote"] = NOW - 1
    play(trial.to_the_end())
    assert (trial.ledger.last("a").verdict, trial.ledger.pauses) == (verdict, [])
