"""What a call for an allocation, or for quotes, leads to: from an outcome to a move. Pure."""

from typing import assert_never

from tasks.rules import backoff
from tasks.rules.decision import Call, Fail, Moment, Move, Read, Settle
from tasks.rules.next_decision import (
    END_REASONS,
    again,
    denied,
    may_end,
    may_still_call,
    not_created_yet,
    out_of_time,
    park,
    read_again,
    refused,
    too_late,
)
from tasks.rules.outcome import (
    Allocated,
    NotSent,
    NotYet,
    Outcome,
    Queued,
    Refused,
    RefusedTogether,
    Stopped,
    Throttled,
    Unknown,
)
from tasks.rules.progress import OpenKind
from tasks.rules.quiet_time import is_quiet, next_read
from tasks.rules.shipment import Shipment

OPENING_REASONS = ("conflict", "invalid_state")
"""Refusals that may come of our own request, which a gateway sent twice."""

MOST_EXPIRED_QUOTES = 3
"""Rounds of quotes, all expired, after which the step is refused."""


def after_call(shipment: Shipment, outcome: Outcome, moment: Moment) -> Move:
    """The move after a call for the present step."""
    shipment = shipment.called(sent=not isinstance(outcome, NotSent))
    match outcome:
        case Allocated():
            return Settle(shipment=shipment, allocated=outcome, adopted=False)
        case Queued():
            return _open(shipment, "queued", moment)
        case Unknown():
            return _open(shipment, "unknown", moment)
        case Refused(reason="conflict"):
            return _open(_refusal(shipment, outcome), "unknown", moment)
        case RefusedTogether():
            return _isolate(shipment, outcome, moment)
        case Refused() | Throttled() | NotSent() | NotYet() | Stopped():
            return _nothing_opened(shipment, outcome, moment)
    assert_never(outcome)


def after_quotes(shipment: Shipment, outcome: Outcome, moment: Moment) -> Move:
    """The move after quotes were asked for in vain. Asking allocates nothing: it is no attempt and opens nothing."""
    match outcome:
        case Refused() | Throttled() | NotSent() | NotYet() | Stopped():
            return _nothing_opened(shipment, outcome, moment)
        case Unknown(reason="invalid_state"):
            return read_again(shipment.with_progress(unread=True).cleared(0.0), moment)
        case _:
            return again(shipment, moment)


def _nothing_opened(
    shipment: Shipment, outcome: Refused | Throttled | NotSent | NotYet | Stopped, moment: Moment
) -> Move:
    match outcome:
        case Refused():
            return _refused(shipment, outcome, moment)
        case Throttled():
            return throttled(shipment, outcome, moment)
        case NotYet(reason="quote_expired"):
            return _quotes_expired(shipment, outcome, moment)
        case NotSent() | NotYet():
            return again(shipment, moment)
        case Stopped():
            return _stopped(shipment, outcome, moment)
    assert_never(outcome)


def _open(shipment: Shipment, kind: OpenKind, moment: Moment) -> Move:
    """The call may still take effect: from now on the shipment is only read back."""
    opened = shipment.opened(kind, moment.now, open_calls=shipment.progress.open_calls + 1)
    if _is_first(shipment):
        # No step of ours can have left the state that it is in.
        opened = opened.with_progress(read_before="unallocated")
    return read_again(opened, moment)


def _is_first(shipment: Shipment) -> bool:
    """Whether the call that was just made is the first one for the shipment ever."""
    progress = shipment.progress
    return progress.attempts == 1 and not shipment.replays and progress.open_kind is None and not progress.unread


def _refused(shipment: Shipment, outcome: Refused, moment: Moment) -> Move:
    """A certain refusal counts at once, unless a call was open before: that one may have gone through meanwhile.

    The state that was read before it says nothing about the next call: this one may have left another.
    """
    if outcome.certain and shipment.progress.open_kind is None:
        return refused(shipment.with_progress(last_read=None), outcome.reason, outcome.message)
    return _read_when_quiet_is_over(_refusal(shipment, outcome), moment)


def _refusal(shipment: Shipment, outcome: Refused | Stopped) -> Shipment:
    """The shipment with a refusal that counts after a read-back."""
    return shipment.with_progress(refusal=outcome.reason, refusal_message=outcome.message)


def _read_when_quiet_is_over(shipment: Shipment, moment: Moment) -> Move:
    if is_quiet(shipment.progress, moment.retry, moment.now):
        return read_again(shipment, moment)
    return _read_first(shipment)


def _read_first(shipment: Shipment) -> Read:
    return Read(shipment=shipment.cleared(0.0))


def _isolate(shipment: Shipment, outcome: RefusedTogether, moment: Moment) -> Move:
    """Refused in company, for what may be another one's fault: asked for again with half as many.

    Of v1 a part may have gone through: its first refusal is an open call, and a read-back precedes each further call.
    """
    fewer = shipment.with_progress(company=max(1, (moment.company + 1) // 2), last_read=None)
    opens = not shipment.progress.refused_partly or outcome.reason in OPENING_REASONS
    if outcome.partly and opens:
        return read_again(fewer.opened("unknown", moment.now, refused_partly=True), moment)
    if outcome.partly:
        return _read_first(fewer)
    if may_end(fewer, moment):
        return too_late(fewer)
    return Call(shipment=fewer) if may_still_call(fewer, moment) else out_of_time(fewer, moment)


def _quotes_expired(shipment: Shipment, outcome: NotYet, moment: Moment) -> Move:
    expired = shipment.with_progress(expired_quotes=shipment.progress.expired_quotes + 1)
    if expired.progress.expired_quotes >= MOST_EXPIRED_QUOTES:
        return _refused(expired, Refused(reason=outcome.reason, message=outcome.message), moment)
    return again(expired, moment)


def _stopped(shipment: Shipment, outcome: Stopped, moment: Moment) -> Move:
    if outcome.reason not in END_REASONS:
        return denied(shipment, outcome, moment)
    if outcome.reason == "shipment_not_found" and not_created_yet(shipment, moment):
        return again(shipment, moment)
    if outcome.reason == "invalid_request" or shipment.progress.open_kind is not None:
        # The status alone may have said so, of a body that could not be read: it might be the state gate's.
        return _read_when_quiet_is_over(_refusal(shipment, outcome), moment)
    return Fail(shipment=shipment, reason=END_REASONS[outcome.reason], message=outcome.message or outcome.reason)


def throttled(shipment: Shipment, outcome: Throttled, moment: Moment) -> Move:
    """Too many calls: wait, at least as long as the API asked, and no less than the quiet time's schedule says."""
    progress = shipment.progress
    if may_end(shipment, moment):
        return too_late(shipment)
    wait_s = backoff.park(progress.waits, moment.random, outcome.retry_after_s)
    if is_quiet(progress, moment.retry, moment.now):
        wait_s = max(wait_s, next_read(progress, moment.retry) - moment.now)
    return park(shipment, moment, wait_s)
