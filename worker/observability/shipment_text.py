"""A shipment's record in words: its path through the plan, its state, and what happens next. Pure."""

from typing import Literal, assert_never

from config.merchant_files.retry import Retry
from tasks.rules.next_decision import deadline as shipment_deadline
from tasks.rules.quiet_time import quiet_end
from worker.ledger.records import Missing, Record, Scheduled, Settled, Working
from worker.observability.text import clock, duration

_PHASES = {
    "q": "leased for the next link of its fallback chain",
    "r": "owned by a worker",
    "c": "owned by a worker, and a call may be in flight",
}


State = Literal["due", "parked", "working", "allocated", "failed", "nowhere"]


def state(record: Record) -> State:
    """The state of a record; `nowhere` would be a bug."""
    match record.where:
        case Scheduled(due=due):
            return "parked" if due > record.now else "due"
        case Working():
            return "working"
        case Settled(state=settled):
            return settled
        case Missing():
            return "nowhere"
    assert_never(record.where)


def whereabouts(record: Record, retry: Retry | None) -> str:
    """Where the shipment is, what happens next, and when. `retry`: of its merchant's file; None without a good one."""
    match record.where:
        case Scheduled():
            return f"{_waiting(record, record.where, retry)}; {_at_last(record, retry)}"
        case Working():
            return f"{_working(record, record.where)}; {_at_last(record, retry)}"
        case Settled(state="failed"):
            return _failed(record, record.where)
        case Settled():
            return _allocated(record.where)
        case Missing():
            return "neither settled nor scheduled, which is a bug: nothing happens to it"
    assert_never(record.where)


def deadline(record: Record, retry: Retry | None) -> float | None:
    """When the shipment fails at the latest, in seconds since the epoch."""
    return None if retry is None else shipment_deadline(record.shipment, retry)


def _at_last(record: Record, retry: Retry | None) -> str:
    fails_at = deadline(record, retry)
    if fails_at is None:
        return "without a valid merchant file it stays parked until there is one"
    return f"it fails at its deadline, {clock(fails_at)}"


_OPEN = {"unknown": "the outcome of its last call is unknown", "queued": "the API has queued its last call"}


def _next_act(record: Record, retry: Retry | None) -> str:
    """What happens next; while a call is open, what is waited for and until when."""
    shipment, progress = record.shipment, record.shipment.progress
    if record.cancelled:
        return "read back; it fails as cancelled_by_operator if it is not allocated"
    if record.unreadable:
        return "only read back, because this version cannot parse its record"
    if not progress.must_read:
        return f"call {shipment.strategy}"
    until = quiet_end(progress, retry) if retry else 0.0
    if progress.open_kind and until > record.now:
        waited = f"{_OPEN[progress.open_kind]}, so until {clock(until)} (quiet time) only read-backs are sent"
        return f"read back: {waited}, and call again if a later read-back says unallocated"
    if progress.refusal:
        return f"read back; the refusal ({progress.refusal}) applies if it is not allocated"
    return "read back, and call again if it is not allocated"


def _waiting(record: Record, where: Scheduled, retry: Retry | None) -> str:
    wait_s = where.due - record.now
    if record.on_hold is not None:
        return f"on hold until `allocation resume {record.shipment.merchant}`, then {_next_act(record, retry)}"
    if record.paused is not None:
        looked_at = f"next checked at {clock(where.due)}" if wait_s > 0 else "checked next"
        goes_on = "resumes when the API accepts a probe, or key or file change"
        then = f", then {_next_act(record, retry)}" if record.cancelled else ""
        return f"parked, because its merchant is paused ({record.paused}); {goes_on}, {looked_at}{then}"
    if wait_s > 0:
        return f"parked until {clock(where.due)} (in {duration(wait_s)}), then {_next_act(record, retry)}"
    due = f"due since {clock(where.due)} ({duration(-wait_s)})"
    return f"{due}, claimed as soon as a worker has capacity, then {_next_act(record, retry)}"


def _working(record: Record, where: Working) -> str:
    left_s = where.lease_end - record.now
    if left_s <= 0:
        return f"its worker stopped renewing: the lease expired at {clock(where.lease_end)} and is reclaimed next"
    expires = f"expires at {clock(where.lease_end)} (in {duration(left_s)})"
    words = f"{_PHASES[where.phase]}; its lease, unless renewed, {expires}"
    return f"{words}, and it is reclaimed then" + (", and read back first" if where.phase == "c" else "")


def _allocated(where: Settled) -> str:
    words = f"allocated at {clock(where.at)}"
    data = where.event["data"] if where.event else {}
    if carrier := data.get("carrier"):
        named = [carrier["service_reference"], carrier["service_name"], carrier["name"]]
        words += f" to {', '.join(name for name in named if name)}"
    if data.get("tracking_references"):
        words += f", tracking {', '.join(data['tracking_references'])}"
    return words + (", adopted after a read-back" if data.get("adopted") else "")


def _failed(record: Record, where: Settled) -> str:
    shipment = record.shipment
    message = f": {where.event['data']['message']}" if where.event else ""
    again = f"`allocation replay {shipment.reference} --merchant {shipment.merchant}` requeues it"
    return f"failed at {clock(where.at)}, {where.reason}{message}; {again}"


def path(record: Record) -> str:
    """The steps of the plan, and how far the shipment has come on them."""
    at, marks = record.shipment.progress.step, []
    for number, step in enumerate(record.shipment.steps):
        mark = " (refused)" if number < at else f" ({state(record)} here)" if number == at else " (not tried)"
        marks.append(f"{step}{mark}")
    return ", then ".join(marks)
