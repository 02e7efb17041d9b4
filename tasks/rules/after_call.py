"""Decisions after a call for an allocation or for quotes: from an outcome to a decision. Pure."""

from typing import assert_never

from tasks.rules import backoff
from tasks.rules.decision import Call, Context, Decision, Fail, ReadBack, Settle
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
    BulkRefused,
    NotSent,
    NotYet,
    Outcome,
    Queued,
    Refused,
    Stopped,
    Throttled,
    Unknown,
)
from tasks.rules.progress import OpenKind
from tasks.rules.quiet_time import is_quiet, next_read
from tasks.rules.shipment import Shipment

OPENING_REASONS = ("conflict", "invalid_state")
"""Refusals that may result from our own request, sent twice by a gateway."""

MAX_EXPIRED_QUOTES = 3
"""After so many rounds of expired quotes the step is refused."""


def after_call(shipment: Shipment, outcome: Outcome, context: Context) -> Decision:
    """The decision after a call for the present step."""
    shipment = shipment.called(sent=not isinstance(outcome, NotSent))
    match outcome:
        case Allocated():
            return Settle(shipment=shipment, allocated=outcome, adopted=False)
        case Queued():
            return _open(shipment, "queued", context)
        case Unknown():
            return _open(shipment, "unknown", context)
        case Refused(reason="conflict"):
            return _open(_refusal(shipment, outcome), "unknown", context)
        case BulkRefused():
            return _isolate(shipment, outcome, context)
        case Refused() | Throttled() | NotSent() | NotYet() | Stopped():
            return _nothing_opened(shipment, outcome, context)
    assert_never(outcome)


def after_quotes(shipment: Shipment, outcome: Outcome, context: Context) -> Decision:
    """The decision after a request for quotes brought none.

    It allocates nothing: it is no attempt and opens no call.
    """
    match outcome:
        case Refused() | Throttled() | NotSent() | NotYet() | Stopped():
            return _nothing_opened(shipment, outcome, context)
        case Unknown(reason="invalid_state"):
            return read_again(shipment.with_progress(unread=True).cleared(0.0), context)
        case _:
            return again(shipment, context)


def _nothing_opened(
    shipment: Shipment, outcome: Refused | Throttled | NotSent | NotYet | Stopped, context: Context
) -> Decision:
    match outcome:
        case Refused():
            return _refused(shipment, outcome, context)
        case Throttled():
            return throttled(shipment, outcome, context)
        case NotYet(reason="quote_expired"):
            return _quotes_expired(shipment, outcome, context)
        case NotSent() | NotYet():
            return again(shipment, context)
        case Stopped():
            return _stopped(shipment, outcome, context)
    assert_never(outcome)


def _open(shipment: Shipment, kind: OpenKind, context: Context) -> Decision:
    """The call may still take effect: the shipment is only read back from now on."""
    opened = shipment.opened(kind, context.now, open_calls=shipment.progress.open_calls + 1)
    if _is_first(shipment):
        # No earlier step can have left the present state.
        opened = opened.with_progress(read_before="unallocated")
    return read_again(opened, context)


def _is_first(shipment: Shipment) -> bool:
    """Whether the call just made is the shipment's first."""
    progress = shipment.progress
    return progress.attempts == 1 and not shipment.replays and progress.open_kind is None and not progress.unread


def _refused(shipment: Shipment, outcome: Refused, context: Context) -> Decision:
    """A certain refusal applies at once, unless a call is open: that one may have taken effect meanwhile.

    The state read before it says nothing about the next call, as this call may have changed it.
    """
    if outcome.certain and shipment.progress.open_kind is None:
        return refused(shipment.with_progress(last_read=None), outcome.reason, outcome.message)
    return _read_when_quiet_is_over(_refusal(shipment, outcome), context)


def _refusal(shipment: Shipment, outcome: Refused | Stopped) -> Shipment:
    """The shipment with a refusal that applies after a read-back."""
    return shipment.with_progress(refusal=outcome.reason, refusal_message=outcome.message)


def _read_when_quiet_is_over(shipment: Shipment, context: Context) -> Decision:
    if is_quiet(shipment.progress, context.retry, context.now):
        return read_again(shipment, context)
    return _read_first(shipment)


def _read_first(shipment: Shipment) -> ReadBack:
    return ReadBack(shipment=shipment.cleared(0.0))


def _isolate(shipment: Shipment, outcome: BulkRefused, context: Context) -> Decision:
    """Refused in a group, possibly because of another shipment: called again in a group half as large.

    With v1 a part may have been allocated: its first refusal is an open call, and a read-back precedes each further
    call.
    """
    fewer = shipment.with_progress(group_size=max(1, (context.group_size + 1) // 2), last_read=None)
    opens = not shipment.progress.refused_partly or outcome.reason in OPENING_REASONS
    if outcome.partly and opens:
        return read_again(fewer.opened("unknown", context.now, refused_partly=True), context)
    if outcome.partly:
        return _read_first(fewer)
    if may_end(fewer, context):
        return too_late(fewer)
    return Call(shipment=fewer) if may_still_call(fewer, context) else out_of_time(fewer, context)


def _quotes_expired(shipment: Shipment, outcome: NotYet, context: Context) -> Decision:
    expired = shipment.with_progress(expired_quotes=shipment.progress.expired_quotes + 1)
    if expired.progress.expired_quotes >= MAX_EXPIRED_QUOTES:
        return _refused(expired, Refused(reason=outcome.reason, message=outcome.message), context)
    return again(expired, context)


def _stopped(shipment: Shipment, outcome: Stopped, context: Context) -> Decision:
    if outcome.reason not in END_REASONS:
        return denied(shipment, outcome, context)
    if outcome.reason == "shipment_not_found" and not_created_yet(shipment, context):
        return again(shipment, context)
    if outcome.reason == "invalid_request" or shipment.progress.open_kind is not None:
        # The status alone may have said so, with an unreadable body: it may mean a wrong state.
        return _read_when_quiet_is_over(_refusal(shipment, outcome), context)
    return Fail(shipment=shipment, reason=END_REASONS[outcome.reason], message=outcome.message or outcome.reason)


def throttled(shipment: Shipment, outcome: Throttled, context: Context) -> Decision:
    """Too many calls: wait at least for Retry-After, and no less than the schedule of the quiet time."""
    progress = shipment.progress
    if may_end(shipment, context):
        return too_late(shipment)
    wait_s = backoff.park(progress.waits, context.random, outcome.retry_after_s)
    if is_quiet(progress, context.retry, context.now):
        wait_s = max(wait_s, next_read(progress, context.retry) - context.now)
    return park(shipment, context, wait_s)
