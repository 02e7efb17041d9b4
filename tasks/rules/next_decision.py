"""Decisions that several rules share: call again, read back again, wait, next step, give up. Pure."""

from config.merchant_files.retry import Retry
from tasks.rules import backoff
from tasks.rules.decision import Call, Context, Decision, Fail, FailReason, FallBack, Park, ReadBack
from tasks.rules.outcome import Stopped
from tasks.rules.quiet_time import FIRST_READ_S, is_quiet, next_read, quiet_end
from tasks.rules.shipment import Shipment

CREATION_GRACE_S = 60.0
"""An event may arrive before its shipment exists: for this long a missing one is "not yet"."""

PAUSED_WAIT_S = 600.0
"""How long a paused merchant's shipments are parked, unless it is resumed before."""

OWN_DENIAL_WAIT_S = 60.0
"""How long a shipment waits after a 403 that concerns only itself."""

NEAR_SHARE = 0.75
"""An unfinished shipment that has used this share of its time is reported as a problem."""

LONGEST_PAUSE_S = 1.0
"""A longer wait is spent in the schedule, not in a task."""

END_REASONS: dict[str, FailReason] = {
    "shipment_not_found": "shipment_not_found",
    "shipment_gone": "shipment_gone",
    "invalid_request": "invalid_request",
    "wrong_state": "wrong_state",
}
"""Findings that no other step can change, with the failure reason."""


def again(shipment: Shipment, context: Context) -> Decision:
    """Another call is possible: now if this visit has tries left, else later."""
    if overdue(shipment, context):
        return too_late(shipment)
    if not may_still_call(shipment, context):
        return out_of_time(shipment, context)
    pause_s = backoff.short(context.tries, context.random)
    if pause_s is not None:
        return Call(shipment=shipment, pause_s=pause_s)
    return park(shipment, context, backoff.park(shipment.progress.waits, context.random))


def has_time_to_call(shipment: Shipment, retry: Retry, timeout_s: float, now: float) -> bool:
    """Whether a call, and the quiet time that may follow it, fit before the deadline."""
    return deadline(shipment, retry) - now >= timeout_s + retry.quiet_s


def may_still_call(shipment: Shipment, context: Context) -> bool:
    """The same, at a decision."""
    return has_time_to_call(shipment, context.retry, context.timeout_s, context.now)


def out_of_time(shipment: Shipment, context: Context) -> Park:
    """No call starts any more; the shipment waits for its deadline, and may be found allocated by then."""
    return Park(shipment=shipment, wait_s=until_deadline(shipment, context, float("inf")))


def read_again(shipment: Shipment, context: Context) -> Decision:
    """Read back later: within the quiet time by its schedule, after it with growing waits."""
    progress = shipment.progress
    if is_quiet(progress, context.retry, context.now):
        return _read_by_schedule(shipment, context, next_read(progress, context.retry) - context.now)
    if is_quiet(progress, context.retry, progress.read_at):
        # The quiet time ended during the last read-back, or within the bounds of the clock: one sent after it is due.
        return ReadBack(
            shipment=shipment, pause_s=min(FIRST_READ_S, quiet_end(progress, context.retry) - progress.read_at)
        )
    if overdue(shipment, context):
        return too_late(shipment)
    pause_s = backoff.short(context.tries, context.random)
    if pause_s is not None:
        return ReadBack(shipment=shipment, pause_s=pause_s)
    return park(shipment, context, backoff.park(progress.waits, context.random))


def _read_by_schedule(shipment: Shipment, context: Context, wait_s: float) -> ReadBack | Park:
    """A short wait is spent in the visit, unless the retry budget is used up."""
    if wait_s <= LONGEST_PAUSE_S and context.tries < backoff.SHORT_TRIES:
        return ReadBack(shipment=shipment, pause_s=max(0.0, wait_s))
    return Park(shipment=shipment, wait_s=max(0.0, wait_s))


def refused(shipment: Shipment, reason: str, message: str) -> Decision:
    """The present step is refused: fall back to the next one, or fail without one."""
    progress = shipment.progress
    after = shipment.with_progress(last_refusal=reason, refusal=None, refusal_message="", unread=False)
    if after.has_fallback:
        return FallBack(
            shipment=after.with_progress(
                step=progress.step + 1,
                open_calls=0,
                waits=0,
                group_size=None,
                give_up_at=None,
                refused_partly=False,
                expired_quotes=0,
                denied_at=None,
                denials=0,
            )
        )
    fail: FailReason = "conflict" if reason == "conflict" else "all_steps_refused"
    return Fail(shipment=after, reason=fail, message=f"{shipment.strategy}: {message or reason}")


def denied(shipment: Shipment, stopped: Stopped, context: Context) -> Decision:
    """The API refused the key, so the merchant is paused; after a 403 for this shipment only, it just waits."""
    if may_end(shipment, context):
        return Fail(shipment=shipment, reason="unauthorised", message=f"{stopped.message}{unread(shipment)}")
    if stopped.reason == "forbidden":
        shipment = shipment.with_progress(denied_at=context.now)
    if stopped.reason == "forbidden_here":
        own = shipment.with_progress(denied_at=context.now, denials=shipment.progress.denials + 1)
        return Park(shipment=own, wait_s=until_deadline(own, context, OWN_DENIAL_WAIT_S))
    wait_s = until_deadline(shipment, context, PAUSED_WAIT_S)
    return Park(shipment=shipment, wait_s=wait_s, pause_merchant=stopped.message or stopped.reason)


def not_created_yet(shipment: Shipment, context: Context) -> bool:
    """Whether a shipment that the API does not know may still be created there."""
    return context.now < shipment.published + CREATION_GRACE_S


def park(shipment: Shipment, context: Context, wait_s: float) -> Park:
    """Park, each time for longer, never beyond the deadline."""
    waiting = shipment.with_progress(waits=shipment.progress.waits + 1)
    return Park(shipment=waiting, wait_s=until_deadline(shipment, context, wait_s))


def deadline(shipment: Shipment, retry: Retry) -> float:
    """When the shipment must be allocated at the latest."""
    return shipment.received + retry.deadline_s


def near_deadline(shipment: Shipment, retry: Retry) -> float:
    """When three quarters of its time are over."""
    return shipment.received + NEAR_SHARE * retry.deadline_s


def overdue(shipment: Shipment, context: Context) -> bool:
    """Whether its time is over."""
    return context.now >= deadline(shipment, context.retry)


def may_end(shipment: Shipment, context: Context) -> bool:
    """Whether its time is over and nothing is open that must be waited for."""
    return overdue(shipment, context) and not is_quiet(shipment.progress, context.retry, context.now)


def until_deadline(shipment: Shipment, context: Context, wait_s: float) -> float:
    """The wait, cut at the deadline or at the end of a quiet time that lasts longer."""
    return max(0.0, min(wait_s, end_of_time(shipment, context) - context.now))


def end_of_time(shipment: Shipment, context: Context) -> float:
    """The deadline, or the end of a quiet time that lasts longer."""
    return max(deadline(shipment, context.retry), quiet_end(shipment.progress, context.retry))


def too_late(shipment: Shipment) -> Fail:
    """The deadline is over."""
    return Fail(shipment=shipment, reason="deadline_passed", message=f"not allocated in time{unread(shipment)}")


def unread(shipment: Shipment) -> str:
    """The part of the message about an open call, or one before a replay, when a shipment ends."""
    progress = shipment.progress
    if progress.open_kind is None and progress.refusal is None:
        return "; it could not be read back" if progress.unread else ""
    if progress.last_read == "allocating":
        return "; the API was allocating it, and it could no longer be read back"
    return "; its last call may have taken effect and could not be read back"
