"""What to do next with a shipment: from an outcome to a move. Pure; the rules of the contract stand here."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, assert_never

from config.merchants import Retry
from tasks import backoff
from tasks.outcome import (
    Allocated,
    Finding,
    NotSent,
    NotYet,
    Outcome,
    Queued,
    Refused,
    Stopped,
    Throttled,
    Unallocated,
    Unknown,
)
from tasks.shipment import Shipment

CREATION_GRACE_S = 60.0
"""An event may run ahead of its shipment: for so long a missing one is "not yet"."""

STUCK_AFTER_S = 1800.0
"""The longest a shipment may stay `allocating` (or a quarter of its deadline, if that is shorter)."""

MOST_LOSSES = 3
"""Worker losses after which a shipment is only read back, and called for no more."""

HOPELESS_LOSSES = 6
"""Worker losses after which it is not even read back, as that seems to be what kills: it waits for its deadline."""

FailReason = Literal[
    "shipment_not_found",
    "shipment_gone",
    "unauthorised",
    "invalid_request",
    "all_steps_refused",
    "conflict",
    "attempts_exhausted",
    "deadline_passed",
    "wrong_state",
    "stuck_allocating",
    "worker_lost",
]

_STOPPED: dict[str, FailReason] = {
    "shipment_not_found": "shipment_not_found",
    "shipment_gone": "shipment_gone",
    "unauthorised": "unauthorised",
    "invalid_request": "invalid_request",
    "wrong_state": "wrong_state",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Settle:
    """It is allocated. `adopted`: a read-back found it, not the answer to our own call."""

    shipment: Shipment
    allocated: Allocated
    adopted: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """Call for the present step (again), after a pause in seconds."""

    shipment: Shipment
    pause_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """Read the shipment back, after a pause in seconds."""

    shipment: Shipment
    pause_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class FallBack:
    """The present step was refused; the shipment stands at the next one."""

    shipment: Shipment


@dataclass(frozen=True, kw_only=True, slots=True)
class Park:
    """Wait in the schedule for `wait_s` seconds. `pause_merchant`: why nothing of the merchant can go on."""

    shipment: Shipment
    wait_s: float
    pause_merchant: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fail:
    """It will not be allocated; a person must look."""

    shipment: Shipment
    reason: FailReason
    message: str


Move = Settle | Call | Read | FallBack | Park | Fail


class Moment(NamedTuple):
    """All a decision needs besides the shipment and the outcome.

    `now`: seconds since the epoch by the ledger's clock; `random`: in [0, 1); `tries`: calls made in this visit.
    """

    now: float
    random: float
    tries: int
    retry: Retry


PAUSED_WAIT_S = 600.0
"""How long a paused merchant's shipments are parked, if nothing resumes them before."""


def first_move(shipment: Shipment, moment: Moment) -> Move:
    """What to do with a shipment that has just been taken."""
    if shipment.losses >= HOPELESS_LOSSES and shipment.progress.must_read:
        return _hopeless(shipment, moment)
    if shipment.progress.must_read:
        return Read(shipment=shipment)
    if shipment.losses >= MOST_LOSSES:
        return _worker_lost(shipment)
    if _overdue(shipment, moment):
        return _too_late(shipment)
    return Call(shipment=shipment)


def _hopeless(shipment: Shipment, moment: Moment) -> Move:
    if _overdue(shipment, moment):
        return _worker_lost(shipment)
    return Park(shipment=shipment, wait_s=_until_deadline(shipment, moment, backoff.RETRY_AFTER_MOST_S))


def _worker_lost(shipment: Shipment) -> Fail:
    message = f"lost its worker {shipment.losses} times{_unread(shipment)}"
    return Fail(shipment=shipment, reason="worker_lost", message=message)


def paused_move(shipment: Shipment, moment: Moment, why: str) -> Move:
    """What to do while nothing of the merchant can be called, for want of a key that works or of a file."""
    if not _overdue(shipment, moment):
        return Park(shipment=shipment, wait_s=_until_deadline(shipment, moment, PAUSED_WAIT_S))
    return Fail(shipment=shipment, reason="unauthorised", message=f"{why}{_unread(shipment)}")


def held_up(shipment: Shipment, moment: Moment, wait_s: float) -> Park | Fail:
    """What to do when a limit or an open breaker stands before the call: wait, which is no attempt.

    Some jitter, so that those who waited together do not come back together.
    """
    if _overdue(shipment, moment):
        return _too_late(shipment)
    return Park(shipment=shipment, wait_s=_until_deadline(shipment, moment, wait_s * (1 + moment.random / 2)))


def after_call(shipment: Shipment, outcome: Outcome, moment: Moment) -> Move:
    """The move after a call for the present step."""
    shipment = shipment.called()
    match outcome:
        case Allocated():
            return Settle(shipment=shipment, allocated=outcome, adopted=False)
        case Queued():
            return _wait_in_queue(shipment, moment)
        case Refused(certain=True):
            return _refused(shipment, outcome.reason, outcome.message)
        case Refused():
            return _read_first(shipment, outcome)
        case Throttled():
            return _throttled(shipment, outcome, moment)
        case NotSent() | NotYet():
            return _again(shipment, moment)
        case Unknown():
            return _read_again(shipment.with_progress(doubt=True, unknowns=shipment.progress.unknowns + 1), moment)
        case Stopped(reason="invalid_request"):
            # The status alone may have said so, of a body that could not be read: it might be the state gate's.
            return _read_first(shipment, outcome)
        case Stopped():
            return _stopped(shipment, outcome, moment)
    assert_never(outcome)


def _read_first(shipment: Shipment, outcome: Refused | Stopped) -> Read:
    """A no that may just as well mean "already allocated" is read back before it counts."""
    return Read(shipment=shipment.with_progress(unread_refusal=outcome.reason, unread_message=outcome.message))


def after_read(shipment: Shipment, finding: Finding, moment: Moment) -> Move:
    """The move after a read-back."""
    match finding:
        case Allocated():
            return Settle(shipment=shipment, allocated=finding, adopted=True)
        case Unallocated():
            return _may_be_allocated(shipment, finding, moment)
        case Queued():
            return _wait_in_queue(shipment, moment)
        case Stopped(reason="invalid_request") | Refused() | Unknown() | NotSent() | NotYet():
            return _read_again(shipment, moment)
        case Throttled():
            return _throttled(shipment, finding, moment)
        case Stopped():
            return _stopped(shipment, finding, moment)
    assert_never(finding)


def _may_be_allocated(shipment: Shipment, finding: Unallocated, moment: Moment) -> Move:
    """Read as unallocated: nothing went through, or what the API had taken in came to nothing."""
    progress = shipment.progress
    read = shipment.with_progress(doubt=False, unread_refusal=None, unread_message="", queued_at=None)
    if progress.unread_refusal == "invalid_request":
        return Fail(shipment=read, reason="invalid_request", message=progress.unread_message or "HTTP 400")
    if progress.unread_refusal is not None:
        return _refused(read, progress.unread_refusal, progress.unread_message)
    if progress.queued_at is not None and finding.state == "allocation_failed":
        return _refused(read, "allocation_failed", "taken in by the API, which then could not allocate it")
    if shipment.losses >= MOST_LOSSES:
        return _worker_lost(read)
    if progress.unknowns >= moment.retry.attempts:
        message = f"{progress.unknowns} calls for {shipment.strategy} came to nothing"
        return Fail(shipment=read, reason="attempts_exhausted", message=message)
    return _again(read, moment)


def _refused(shipment: Shipment, reason: str, message: str) -> Move:
    progress = shipment.progress
    refused = shipment.with_progress(last_refusal=reason)
    if refused.has_fallback:
        return FallBack(
            shipment=refused.with_progress(step=progress.step + 1, unknowns=0, waits=0, queued_at=None, doubt=False)
        )
    fail: FailReason = "conflict" if reason == "conflict" else "all_steps_refused"
    return Fail(shipment=refused, reason=fail, message=f"{shipment.strategy}: {message or reason}")


def _stopped(shipment: Shipment, outcome: Stopped, moment: Moment) -> Move:
    if outcome.reason == "shipment_not_found" and moment.now < shipment.published + CREATION_GRACE_S:
        return _read_again(shipment, moment) if shipment.progress.must_read else _again(shipment, moment)
    if outcome.reason != "unauthorised":
        reason = _STOPPED.get(outcome.reason, "invalid_request")
        return Fail(shipment=shipment, reason=reason, message=outcome.message or outcome.reason)
    if _overdue(shipment, moment):
        return Fail(shipment=shipment, reason="unauthorised", message=f"{outcome.message}{_unread(shipment)}")
    wait_s = _until_deadline(shipment, moment, PAUSED_WAIT_S)
    return Park(shipment=shipment, wait_s=wait_s, pause_merchant=outcome.message or outcome.reason)


def _wait_in_queue(shipment: Shipment, moment: Moment) -> Move:
    """The API has it; read again with growing pauses, but not for ever."""
    since = shipment.progress.queued_at or moment.now
    waiting = shipment.with_progress(queued_at=since, doubt=False, unread_refusal=None)
    if _overdue(shipment, moment):
        return _too_late(waiting)
    if moment.now - since > min(STUCK_AFTER_S, moment.retry.deadline_hours * 900):
        message = f"the API has been allocating it for {moment.now - since:.0f} s"
        return Fail(shipment=waiting, reason="stuck_allocating", message=message)
    pause_s = backoff.short(moment.tries, 1.0)
    if pause_s is not None:
        return Read(shipment=waiting, pause_s=pause_s)
    return _park(waiting, moment, backoff.queue(shipment.progress.waits, moment.random))


def _throttled(shipment: Shipment, outcome: Throttled, moment: Moment) -> Move:
    if _overdue(shipment, moment):
        return _too_late(shipment)
    return _park(shipment, moment, backoff.park(shipment.progress.waits, moment.random, outcome.retry_after_s))


def _again(shipment: Shipment, moment: Moment) -> Move:
    """Nothing stands against another call: now if this visit has tries left, else later."""
    if _overdue(shipment, moment):
        return _too_late(shipment)
    pause_s = backoff.short(moment.tries, moment.random)
    if pause_s is not None:
        return Call(shipment=shipment, pause_s=pause_s)
    return _park(shipment, moment, backoff.park(shipment.progress.waits, moment.random))


def _read_again(shipment: Shipment, moment: Moment) -> Move:
    if _overdue(shipment, moment):
        return _too_late(shipment)
    pause_s = backoff.short(moment.tries, moment.random)
    if pause_s is not None:
        return Read(shipment=shipment, pause_s=pause_s)
    return _park(shipment, moment, backoff.park(shipment.progress.waits, moment.random))


def _park(shipment: Shipment, moment: Moment, wait_s: float) -> Move:
    waiting = shipment.with_progress(waits=shipment.progress.waits + 1)
    return Park(shipment=waiting, wait_s=_until_deadline(shipment, moment, wait_s))


def _deadline(shipment: Shipment, moment: Moment) -> float:
    return shipment.received + moment.retry.deadline_hours * 3600


def _overdue(shipment: Shipment, moment: Moment) -> bool:
    return moment.now >= _deadline(shipment, moment)


def _until_deadline(shipment: Shipment, moment: Moment, wait_s: float) -> float:
    return max(0.0, min(wait_s, _deadline(shipment, moment) - moment.now))


def _too_late(shipment: Shipment) -> Fail:
    return Fail(shipment=shipment, reason="deadline_passed", message=f"not allocated in time{_unread(shipment)}")


def _unread(shipment: Shipment) -> str:
    progress = shipment.progress
    if progress.doubt or progress.unread_refusal is not None:
        return "; its last call may have gone through and could not be read back"
    return "; the API had taken it in and was still allocating it" if progress.queued_at is not None else ""
