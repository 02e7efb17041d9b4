"""Decisions after a read-back: from a finding to a decision. Pure."""

from typing import assert_never

from tasks.rules.after_call import throttled
from tasks.rules.before_call import MAX_LOSSES, worker_lost
from tasks.rules.cancelled import end, without_call
from tasks.rules.decision import Call, Context, Decision, Fail, Settle
from tasks.rules.next_decision import (
    END_REASONS,
    denied,
    may_end,
    may_still_call,
    not_created_yet,
    out_of_time,
    overdue,
    read_again,
    refused,
)
from tasks.rules.outcome import (
    Allocated,
    BulkRefused,
    Finding,
    NotSent,
    NotYet,
    Queued,
    Refused,
    Stopped,
    Throttled,
    Unallocated,
    Unknown,
)
from tasks.rules.quiet_time import CLEARED_S, decides_queued, is_quiet, quiet_end
from tasks.rules.shipment import Shipment

STUCK_AFTER_S = 1800.0
"""The longest time a shipment may stay `allocating` (or a quarter of its deadline, if that is shorter)."""


def after_read_back(shipment: Shipment, finding: Finding, context: Context) -> Decision:
    """The decision after a read-back sent at `context.sent`."""
    decision = _decide(shipment, finding, context)
    return without_call(decision) if shipment.cancelled else decision


def _decide(shipment: Shipment, finding: Finding, context: Context) -> Decision:
    read = shipment.with_progress(read_at=context.sent)
    match finding:
        case Allocated():
            return Settle(shipment=read, allocated=finding, adopted=True)
        case Unallocated():
            return _not_allocated(read, finding, context)
        case Queued():
            return _allocating(read, context)
        case Throttled():
            return throttled(read, finding, context)
        case Stopped(reason="invalid_request"):
            return read_again(read, context)
        case Stopped():
            return _stopped(read, finding, context)
        case Refused() | BulkRefused() | Unknown() | NotSent() | NotYet():
            return read_again(read, context)
    assert_never(finding)


def _not_allocated(shipment: Shipment, finding: Unallocated, context: Context) -> Decision:
    """Within a quiet time it proves nothing: the call may take effect later. After it the call had no effect."""
    progress, read = shipment.progress, shipment.with_progress(last_read=finding.state)
    if decides_queued(progress, finding.state):
        message = "queued by the API, which then could not allocate it"
        return refused(read.with_progress(open_kind=None), finding.state, message)
    if is_quiet(progress, context.retry, context.sent):
        return read_again(read, context)
    if shipment.cancelled:
        return end(read)
    if progress.refusal is not None:
        return _refusal_counts(read)
    if shipment.losses >= MAX_LOSSES:
        return worker_lost(read.with_progress(open_kind=None, unread=False))
    if progress.open_calls >= context.retry.attempts:
        return _exhausted(read)
    return _call_again(read, context)


def _refusal_counts(shipment: Shipment) -> Decision:
    """A refusal applies once a later read-back says not allocated."""
    progress = shipment.progress
    reason, message = progress.refusal or "refused", progress.refusal_message
    if reason not in END_REASONS:
        return refused(shipment, reason, message)
    ended = shipment.with_progress(refusal=None, refusal_message="")
    return Fail(shipment=ended, reason=END_REASONS[reason], message=message or reason)


def _exhausted(shipment: Shipment) -> Fail:
    message = f"{shipment.progress.open_calls} calls for {shipment.strategy} had no effect"
    return Fail(shipment=shipment, reason="attempts_exhausted", message=message)


def _call_again(shipment: Shipment, context: Context) -> Decision:
    """The read-back allows one call, for a limited time."""
    if overdue(shipment, context):
        message = "not allocated in time"
        return Fail(shipment=shipment, reason="deadline_passed", message=message)
    if not may_still_call(shipment, context):
        return out_of_time(shipment, context)
    return Call(shipment=shipment.cleared(context.now + CLEARED_S))


def _allocating(shipment: Shipment, context: Context) -> Decision:
    """The API is allocating: the quiet time restarts, within a limit."""
    progress = shipment.progress
    since = progress.allocating_since or context.now
    stuck = context.now - since > min(STUCK_AFTER_S, context.retry.deadline_s / 4)
    if progress.give_up_at is not None and context.sent >= progress.give_up_at:
        return _gave_up_waiting(shipment, context, stuck=stuck)
    at_it = _at_it(shipment, context, since)
    if progress.give_up_at is None and (stuck or overdue(shipment, context)):
        # One more read-back decides, after the running quiet time.
        at_it = at_it.with_progress(give_up_at=quiet_end(at_it.progress, context.retry))
    return read_again(at_it, context)


def _at_it(shipment: Shipment, context: Context, since: float) -> Shipment:
    """Without a call of ours: another client called for it, or the record lost our call."""
    if shipment.progress.open_kind is None:
        shipment = shipment.opened("unknown", context.now)
    return shipment.with_progress(last_read="allocating", allocating_since=since, quiet_from=context.now)


def _unjudged(shipment: Shipment) -> Shipment:
    """An API that does not know the shipment has not judged its step: an unconfirmed refusal is dropped."""
    if shipment.progress.refusal is None:
        return shipment
    return shipment.with_progress(unread=True, refusal=None, refusal_message="")


def _gave_up_waiting(shipment: Shipment, context: Context, *, stuck: bool) -> Fail:
    if not stuck:
        message = "not allocated in time; the API was still allocating it"
        return Fail(shipment=shipment, reason="deadline_passed", message=message)
    seconds = context.now - (shipment.progress.allocating_since or context.now)
    message = f"the API has been allocating it for {seconds:.0f} s"
    return Fail(shipment=shipment, reason="stuck_allocating", message=message)


def _stopped(shipment: Shipment, finding: Stopped, context: Context) -> Decision:
    """Nothing ends within a quiet time, as the state may change until its end."""
    if finding.reason not in END_REASONS:
        return denied(shipment, finding, context)
    if is_quiet(shipment.progress, context.retry, context.sent):
        return read_again(shipment, context)
    if finding.reason == "shipment_not_found" and not_created_yet(shipment, context) and not may_end(shipment, context):
        return read_again(_unjudged(shipment), context)
    return Fail(shipment=shipment, reason=END_REASONS[finding.reason], message=finding.message or finding.reason)
