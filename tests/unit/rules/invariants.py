"""What the laws of a life are said in: its calls, readings and decisions, and what was open when."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from tasks.rules.decision import Fail, FallBack
from tasks.rules.next_decision import end_of_time
from tasks.rules.outcome import BulkRefused, Queued, Refused, Unallocated, Unknown
from tasks.rules.shipment import Shipment
from tests.unit.rules.simulation import Life
from tests.unit.rules.simulation_log import Called, Looked, Moved

SLACK_S = 0.002
"""Times are seconds since the epoch in a float, and a quiet time's last read-back comes a millisecond after its end."""


class Portion(NamedTuple):
    """What happened between two replays."""

    log: list[Called | Looked | Moved]
    last: Moved


def calls(life: Life) -> list[Called]:
    """Every call that went out."""
    return [entry for entry in life.log if isinstance(entry, Called)]


def readings(life: Life) -> list[Looked]:
    """Every read-back that was answered."""
    return [entry for entry in life.log if isinstance(entry, Looked)]


def decisions(life: Life) -> list[Moved]:
    """Every decision."""
    return [entry for entry in life.log if isinstance(entry, Moved)]


def portions(life: Life) -> Iterator[Portion]:
    """The life from replay to replay."""
    starts = [0, *life.replayed_at, len(life.log)]
    for start, end in pairwise(starts):
        log = life.log[start:end]
        yield Portion(log=log, last=[entry for entry in log if isinstance(entry, Moved)][-1])


def never_forgotten(life: Life) -> bool:
    """Whether the server kept all that was reported."""
    return all(turn.interruption != "forgotten" for turn in life.world.turns)


def open_for_s(life: Life, call: Called) -> float:
    """For how long a call may still take effect after its end; 0 when it is not open."""
    match call.outcome:
        case Queued():
            return life.world.retry.queue_s
        case None | Unknown() | Refused(reason="conflict"):
            return life.world.retry.quiet_s
        case BulkRefused(partly=True) if not call.shipment.progress.refused_partly:
            return life.world.retry.quiet_s
        case _:
            return 0.0


def open_calls_before(life: Life, entry: Called | Moved) -> list[Called]:
    """The calls before it that were open once."""
    return [call for call in calls(life)[: _calls_before(life, entry)] if open_for_s(life, call)]


def _calls_before(life: Life, entry: Called | Moved) -> int:
    at = next(number for number, each in enumerate(life.log) if each is entry)
    return sum(isinstance(each, Called) for each in life.log[:at])


def is_over(life: Life, call: Called, now: float) -> bool:
    """Whether an open call can have no more effect by then: its time is over, or its end in the queue was seen."""
    return call.end + open_for_s(life, call) <= now + SLACK_S or was_seen_to_fail(life, call, now)


def was_read_after(life: Life, call: Called, after_s: float, now: float) -> bool:
    """Whether a read-back that was sent so long after the end of the call said that nothing came of it."""
    return any(
        isinstance(reading.finding, Unallocated) and call.end + after_s - SLACK_S <= reading.sent <= now
        for reading in readings(life)
    )


def was_seen_to_fail(life: Life, call: Called, now: float) -> bool:
    """Whether the API was seen to have failed to allocate what it had queued."""
    # By their order, as a request may take no time at all.
    at = next(number for number, entry in enumerate(life.log) if entry is call)
    before = [entry.finding for entry in life.log[:at] if isinstance(entry, Looked)]
    after = [entry.finding for entry in life.log[at:] if isinstance(entry, Looked) and entry.sent <= now]
    # Of the first call ever no step of ours can have left a state.
    is_first = not call.shipment.replays and not before and call is calls(life)[0]
    was_unallocated = is_first or before[-1:] == [Unallocated(state="unallocated")]
    return isinstance(call.outcome, Queued) and any(
        finding == Unallocated(state="allocation_failed")
        and (was_unallocated or any(isinstance(each, Queued) for each in after[:number]))
        for number, finding in enumerate(after)
    )


def time_is_over(life: Life, shipment: Shipment, now: float) -> float:
    """When its deadline is over, and the quiet time that lasts longer."""
    return end_of_time(shipment, life.context(0)._replace(now=now))


def by_refusal(moved: Moved) -> bool:
    """Whether a step was left, or the shipment failed, as it was refused."""
    reasons = ("all_steps_refused", "conflict", "invalid_request", "shipment_gone", "shipment_not_found")
    return isinstance(moved.decision, FallBack) or (
        isinstance(moved.decision, Fail) and moved.decision.reason in reasons
    )
