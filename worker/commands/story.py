"""A shipment's record in words: its way through the plan, where it is now, and what happens next. Pure."""

from typing import Any, assert_never

from tasks.shipment import iso
from worker.commands.output import clock, length
from worker.records import Nowhere, Record, Settled, Waiting, Working

_PHASES = {
    "q": "handed out, in a message to the workers",
    "r": "in a worker's hands",
    "c": "in a worker's hands, and a call may be on its way",
}


def state(record: Record) -> str:
    """`due`, `parked`, `working`, `allocated`, `failed`, or `nowhere`."""
    match record.where:
        case Waiting(due=due):
            return "parked" if due > record.now else "due"
        case Working():
            return "working"
        case Settled(state=settled):
            return settled
        case Nowhere():
            return "nowhere"
    assert_never(record.where)


def whereabouts(record: Record, deadline: float | None) -> str:
    """Where the shipment is, what happens next, and when. `deadline` (seconds since the epoch): None without a file."""
    match record.where:
        case Waiting():
            return f"{_waiting(record, record.where)}; {_at_last(deadline)}"
        case Working():
            return f"{_working(record, record.where)}; {_at_last(deadline)}"
        case Settled(state="failed"):
            return _failed(record, record.where)
        case Settled():
            return _allocated(record.where)
        case Nowhere():
            return "neither finished nor in the schedule, which should never be: nothing will happen by itself"
    assert_never(record.where)


def _at_last(deadline: float | None) -> str:
    if deadline is None:
        return "without a valid merchant file it waits until there is one"
    return f"it fails at its deadline, {clock(deadline)}"


def _next_act(record: Record) -> str:
    shipment = record.shipment
    return "read back" if shipment.progress.must_read else f"asked for by {shipment.strategy}"


def _waiting(record: Record, where: Waiting) -> str:
    wait_s = where.due - record.now
    if record.paused is not None:
        looked_at = f"looked at again at {clock(where.due)}" if wait_s > 0 else "looked at again next"
        return f"held back, as its merchant is paused ({record.paused}); goes on when key or file change, {looked_at}"
    if wait_s > 0:
        return f"parked until {clock(where.due)} (in {length(wait_s)}), then {_next_act(record)}"
    due = f"due since {clock(where.due)} ({length(-wait_s)})"
    return f"{due}, handed out as soon as there is room, then {_next_act(record)}"


def _working(record: Record, where: Working) -> str:
    left_s = where.lease_end - record.now
    if left_s <= 0:
        return f"its worker fell silent: the lease ended at {clock(where.lease_end)}, and the next sweep brings it back"
    words = f"{_PHASES[where.phase]}; unless renewed, its lease ends at {clock(where.lease_end)} (in {length(left_s)})"
    return f"{words}, and the sweep brings it back" + (", to be read back first" if where.phase == "c" else "")


def _allocated(where: Settled) -> str:
    words = f"allocated at {clock(where.at)}"
    data = where.event["data"] if where.event else {}
    if carrier := data.get("carrier"):
        named = [carrier["service_reference"], carrier["service_name"], carrier["name"]]
        words += f" to {', '.join(name for name in named if name)}"
    if data.get("tracking_references"):
        words += f", tracking {', '.join(data['tracking_references'])}"
    return words + (", found so by a read-back" if data.get("adopted") else "")


def _failed(record: Record, where: Settled) -> str:
    shipment = record.shipment
    message = f": {where.event['data']['message']}" if where.event else ""
    again = f"`allocation replay {shipment.reference} --merchant {shipment.merchant}` puts it back"
    return f"failed at {clock(where.at)}, {where.reason}{message}; {again}"


def path(record: Record) -> str:
    """The steps of the plan, and how far the shipment has come on them."""
    at, marks = record.shipment.progress.step, []
    for number, step in enumerate(record.shipment.steps):
        mark = " (refused)" if number < at else f" ({state(record)} here)" if number == at else " (not tried)"
        marks.append(f"{step}{mark}")
    return ", then ".join(marks)


def document(record: Record, deadline: float | None) -> dict[str, Any]:
    """The record as JSON; `deadline` as for `whereabouts`."""
    shipment, progress = record.shipment, record.shipment.progress
    return {
        "merchant": shipment.merchant,
        "reference": shipment.reference,
        "order": shipment.order,
        "order_event": shipment.order_event,
        "received": iso(shipment.received),
        "api": shipment.api,
        "rule": shipment.rule,
        "why": record.why,
        "facts": record.facts,
        "plan": [step.as_table() for step in shipment.steps],
        "step": progress.step,
        "attempts": progress.attempts,
        "replays": shipment.replays,
        "state": state(record),
        "next": whereabouts(record, deadline),
        "deadline": None if deadline is None else iso(deadline),
        **_moments(record),
        "story": [{"entry": number, **entry} for number, entry in record.story],
    }


def _moments(record: Record) -> dict[str, Any]:
    match record.where:
        case Waiting(due=due):
            return {"due": iso(due), "paused": record.paused}
        case Working(lease_end=lease_end):
            return {"lease_end": iso(lease_end), "paused": record.paused}
        case Settled(at=at, reason=reason, event=event):
            return {"settled": iso(at), "reason": reason or None, "event": event}
        case Nowhere():
            return {}
    assert_never(record.where)
