"""What to do with a shipment before its first request of a visit. Pure."""

from tasks.rules import backoff
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
"""Worker losses after which a shipment is only read back, and called for no more."""

LAST_READ_S = 30.0
"""How much longer than its time a shipment waits for leave to be read back, if a call may have gone through."""

HOPELESS_LOSSES = 6
"""Worker losses after which it is not even read back, as that seems to be what kills: it waits for its deadline."""


def first_decision(shipment: Shipment, context: Context) -> Decision:
    """What to do with a shipment that has just been taken."""
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
    """It lost its worker too often."""
    message = f"lost its worker {shipment.losses} times{unread(shipment)}"
    return Fail(shipment=shipment, reason="worker_lost", message=message)


def paused_decision(shipment: Shipment, context: Context, why: str, *, has_key: bool) -> Decision:
    """What to do while nothing of the merchant can be called; with a key, what is open is read back at the end."""
    if may_end(shipment, context):
        if has_key and shipment.progress.must_read:
            return ReadBack(shipment=shipment)
        return Fail(shipment=shipment, reason="unauthorised", message=f"{why}{unread(shipment)}")
    return Park(shipment=shipment, wait_s=until_deadline(shipment, context, PAUSED_WAIT_S))


def held_up(shipment: Shipment, context: Context, wait_s: float, *, by_limit: bool = False) -> Park | Fail:
    """What to do when a limit or an open breaker stands before the request: wait, which is no attempt.

    Some jitter, so that those who waited together do not come back together. `by_limit`: it is the merchant's own
    limit, so a read-back will be answered once its turn comes, however late.
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
