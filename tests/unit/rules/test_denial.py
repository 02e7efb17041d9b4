"""A 403: attributed to the key while no other shipment gets a good response, otherwise to the shipment."""

from dataclasses import replace

import pytest

from tasks.rules.after_call import after_call
from tasks.rules.after_read_back import after_read_back
from tasks.rules.decision import Fail, FallBack, Park
from tasks.rules.denial import OWN_DENIALS, accepts_key, own_denial
from tasks.rules.next_decision import OWN_DENIAL_WAIT_S, PAUSED_WAIT_S
from tasks.rules.outcome import Feedback, Finding, Refused, Unknown, signal_of
from tests.factories.shipments import (
    ALLOCATED,
    FORBIDDEN,
    FOREIGN,
    GROUP,
    HOUR_S,
    NO_ACCESS,
    NOT_SENT,
    NOW,
    QUEUED,
    QUIET_S,
    REFUSED,
    THROTTLED,
    VIRTUAL,
    context,
    open_call,
    shipment,
)

PLAN = (VIRTUAL, GROUP)
HERE = replace(FORBIDDEN, reason="forbidden_here")


def test_the_first_is_attributed_to_the_key() -> None:
    """A 403 pauses the merchant, and the time is recorded for the shipment; a 401 is always attributed to the key."""
    decision = after_call(shipment(*PLAN), FORBIDDEN, context())
    assert isinstance(decision, Park)
    assert (decision.wait_s, decision.pause_merchant) == (PAUSED_WAIT_S, "not allowed")
    assert decision.shipment.progress.denied_at == NOW
    assert after_call(shipment(*PLAN), NO_ACCESS, context()).shipment.progress.denied_at is None


@pytest.mark.parametrize("last_good", [0.0, NOW - 100, NOW - 50])
def test_while_others_are_denied_it_stays_with_the_key(last_good: float) -> None:
    """Without a good response to such a call since then, it is no information about this shipment."""
    of = shipment(*PLAN, denied_at=NOW - 50)
    assert own_denial(of, FORBIDDEN, last_good, of_step=True) == FORBIDDEN


def test_while_others_are_not_denied_it_is_the_shipments() -> None:
    """The shipment waits without a pause of the merchant, and its step is refused the second time."""
    once = shipment(*PLAN, denied_at=NOW - 50)
    assert own_denial(once, FORBIDDEN, NOW - 1, of_step=True) == HERE
    decision = after_call(once, HERE, context())
    assert isinstance(decision, Park)
    assert (decision.wait_s, decision.pause_merchant) == (OWN_DENIAL_WAIT_S, None)
    twice = decision.shipment
    assert (twice.progress.denials, twice.progress.denied_at) == (OWN_DENIALS - 1, NOW)
    assert own_denial(twice, FORBIDDEN, NOW - 1, of_step=True) == FORBIDDEN
    refused = own_denial(twice, FORBIDDEN, NOW + 1, of_step=True)
    assert refused == Refused(reason="forbidden", message="not allowed")
    assert isinstance(refused, Refused)
    fell_back = after_call(twice, refused, context())
    assert isinstance(fell_back, FallBack)
    assert (fell_back.shipment.progress.denied_at, fell_back.shipment.progress.denials) == (None, 0)


def test_a_read_back_never_refuses_a_step() -> None:
    """A shipment that must not be read may still be called for: it waits, as often as needed."""
    of = shipment(*PLAN, denied_at=NOW - 50, denials=9)
    assert own_denial(of, FORBIDDEN, NOW - 1, of_step=False) == HERE
    decision = after_read_back(of, HERE, context())
    assert isinstance(decision, Park)
    assert (decision.wait_s, decision.pause_merchant) == (OWN_DENIAL_WAIT_S, None)


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (ALLOCATED, True),
        (QUEUED, True),
        (REFUSED, True),
        (THROTTLED, True),
        (HERE, True),
        (Refused(reason="forbidden"), True),
        (Unknown(reason="server_error", by_api=True), True),
        (Unknown(reason="server_error"), False),
        (Unknown(reason="timeout"), False),
        (NOT_SENT, False),
        (FOREIGN, False),
        (FORBIDDEN, False),
        (NO_ACCESS, False),
    ],
)
def test_responses_that_accept_the_key(finding: Finding, expected: bool) -> None:  # noqa: FBT001  # a row of the table
    """Any response of the API itself does, except another denial that is not this shipment's own."""
    assert accepts_key(Feedback(signal=signal_of(finding), purpose="allocate"), finding) is expected


def test_the_deadline_fails_it() -> None:
    """It fails as unauthorised at its deadline, after any quiet time; the message names an unread open call."""
    for outcome in (FORBIDDEN, HERE, NO_ACCESS):
        long_over = {**open_call(ago_s=HOUR_S), "unread": True}
        late = after_read_back(shipment(*PLAN, age_s=48 * HOUR_S, **long_over), outcome, context())
        assert isinstance(late, Fail)
        assert late.reason == "unauthorised"
        assert late.message.endswith("; its last call may have taken effect and could not be read back")
        waits = after_read_back(shipment(*PLAN, age_s=48 * HOUR_S, **open_call(ago_s=10)), outcome, context())
        assert isinstance(waits, Park)
        assert waits.wait_s == QUIET_S - 10
