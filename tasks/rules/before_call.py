"""The first decision of a visit, before any request. Pure."""

from tasks.rules import backoff
from tasks.rules.cancelled import end, first_read_back
from tasks.rules.decision import Call, Context, Decision, Fail, Park, ReadBack
from tasks.rules.next_decision import (
    PAUSED_WAIT_S,
    end_of_time,
    may_end,
    may_still_call,
    out_of_time,
    overdue,
    read_again,
    too_late,
    unread,
    until_deadline,
)
from tasks.rules.quiet_time import is_quiet
from tasks.rules.shipment import Shipment

MAX_LOSSES = 3
"""Worker losses after which a shipment is only read back."""

LAST_READ_S = 30.0
"""How long after its deadline a shipment with an open call waits for a permit to be read back."""

HOPELESS_LOSSES = 6
"""Worker losses after which it is not even read back, as that may be the cause: it waits for its deadline."""


def first_decision(shipment: Shipment, context: Context) -> Decision:
    """The decision for a shipment that was just claimed."""
    decision = _decide(shipment, context)
    return first_read_back(decision) if shipment.cancelled else decision


def _decide(shipment: Shipment, context: Context) -> Decision:
    if shipment.cancelled and not shipment.progress.must_read:
        return ReadBack(shipment=shipment)
    if shipment.losses >= HOPELESS_LOSSES and shipment.progress.must_read:
        return _hopeless(shipment, context)
    if shipment.progress.must_read:
        in_quiet_time = is_quiet(shipment.progress, context.retry, context.now)
        return read_again(shipment, context) if in_quiet_time else ReadBack(shipment=shipment)
    if shipment.losses >= MAX_LOSSES:
        return worker_lost(shipment)
    if may_still_call(shipment, context):
        return Call(shipment=shipment)
    return too_late(shipment) if overdue(shipment, context) else out_of_time(shipment, context)


def _hopeless(shipment: Shipment, context: Context) -> Decision:
    if may_end(shipment, context):
        return worker_lost(shipment)
    return Park(shipment=shipment, wait_s=until_deadline(shipment, context, backoff.RETRY_AFTER_MOST_S))


def worker_lost(shipment: Shipment) -> Fail:
    """The decision for a shipment that lost its worker too often."""
    message = f"lost its worker {shipment.losses} times{unread(shipment)}"
    return Fail(shipment=shipment, reason="worker_lost", message=message)


def paused_decision(shipment: Shipment, context: Context, why: str, *, has_key: bool) -> Decision:
    """The decision while the merchant is paused; with a key, an open call is read back at the deadline.

    A cancelled shipment ends at once without an open call, although it cannot be read back.
    """
    if shipment.cancelled and not shipment.progress.must_read:
        return end(shipment)
    if may_end(shipment, context):
        if has_key and shipment.progress.must_read:
            return ReadBack(shipment=shipment)
        return Fail(shipment=shipment, reason="unauthorised", message=f"{why}{unread(shipment)}")
    return Park(shipment=shipment, wait_s=until_deadline(shipment, context, PAUSED_WAIT_S))


def held_up(shipment: Shipment, context: Context, wait_s: float, *, by_limit: bool = False) -> Park | Fail:
    """The decision when a limit or an open breaker prevents the request: wait, which is no attempt.

    With jitter, so that shipments do not return together. `by_limit`: the merchant's own limit is the reason, so a
    read-back is possible later.
    """
    longer_s = wait_s * (1 + context.random / 2)
    if not may_end(shipment, context):
        return Park(shipment=shipment, wait_s=until_deadline(shipment, context, longer_s))
    left_s = end_of_time(shipment, context) + LAST_READ_S - context.now
    if shipment.progress.must_read and by_limit:
        return Park(shipment=shipment, wait_s=longer_s)
    if shipment.progress.must_read and left_s > 0:
        return Park(shipment=shipment, wait_s=min(longer_s, left_s))
    return too_late(shipment)
