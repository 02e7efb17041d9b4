"""Helpers for stating invariants of a simulation: its calls, read-backs, decisions and open calls."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from tasks.rules.decision import Fail, FallBack
from tasks.rules.next_decision import end_of_time
from tasks.rules.outcome import BulkRefused, Queued, Refused, Unallocated, Unknown
from tasks.rules.shipment import Shipment
from tests.unit.rules.simulation import Simulation
from tests.unit.rules.simulation_log import CallEntry, DecisionEntry, ReadBackEntry

SLACK_S = 0.002
"""Times are floats in seconds since the epoch, and the last read-back is due a millisecond after the quiet time."""


class Period(NamedTuple):
    """The log between two replays."""

    log: list[CallEntry | ReadBackEntry | DecisionEntry]
    last: DecisionEntry


def calls(simulation: Simulation) -> list[CallEntry]:
    """All calls that were sent."""
    return [entry for entry in simulation.log if isinstance(entry, CallEntry)]


def read_backs(simulation: Simulation) -> list[ReadBackEntry]:
    """All read-backs with a response."""
    return [entry for entry in simulation.log if isinstance(entry, ReadBackEntry)]


def decisions(simulation: Simulation) -> list[DecisionEntry]:
    """All decisions."""
    return [entry for entry in simulation.log if isinstance(entry, DecisionEntry)]


def periods(simulation: Simulation) -> Iterator[Period]:
    """The log split at each replay."""
    starts = [0, *simulation.replayed_at, len(simulation.log)]
    for start, end in pairwise(starts):
        log = simulation.log[start:end]
        yield Period(log=log, last=[entry for entry in log if isinstance(entry, DecisionEntry)][-1])


def keeps_all_reports(simulation: Simulation) -> bool:
    """Whether the server kept every report."""
    return all(turn.interruption != "forgotten" for turn in simulation.scenario.turns)


def open_for_s(simulation: Simulation, call: CallEntry) -> float:
    """How long a call may still take effect after its end; 0 when it is not open."""
    match call.outcome:
        case Queued():
            return simulation.scenario.retry.queue_s
        case None | Unknown() | Refused(reason="conflict"):
            return simulation.scenario.retry.quiet_s
        case BulkRefused(partly=True) if not call.shipment.progress.refused_partly:
            return simulation.scenario.retry.quiet_s
        case _:
            return 0.0


def open_calls_before(simulation: Simulation, entry: CallEntry | DecisionEntry) -> list[CallEntry]:
    """The open calls before an entry."""
    return [call for call in calls(simulation)[: _calls_before(simulation, entry)] if open_for_s(simulation, call)]


def _calls_before(simulation: Simulation, entry: CallEntry | DecisionEntry) -> int:
    at = next(number for number, each in enumerate(simulation.log) if each is entry)
    return sum(isinstance(each, CallEntry) for each in simulation.log[:at])


def is_over(simulation: Simulation, call: CallEntry, now: float) -> bool:
    """Whether an open call can no longer take effect: its time is over, or its failure in the queue was seen."""
    return call.end + open_for_s(simulation, call) <= now + SLACK_S or was_seen_to_fail(simulation, call, now)


def was_read_after(simulation: Simulation, call: CallEntry, after_s: float, now: float) -> bool:
    """Whether a read-back sent at least `after_s` after the end of the call found the shipment unallocated."""
    return any(
        isinstance(read_back.finding, Unallocated) and call.end + after_s - SLACK_S <= read_back.sent <= now
        for read_back in read_backs(simulation)
    )


def was_seen_to_fail(simulation: Simulation, call: CallEntry, now: float) -> bool:
    """Whether the API was seen to fail a queued call."""
    # Compared by order, as a request may take no time.
    at = next(number for number, entry in enumerate(simulation.log) if entry is call)
    before = [entry.finding for entry in simulation.log[:at] if isinstance(entry, ReadBackEntry)]
    after = [entry.finding for entry in simulation.log[at:] if isinstance(entry, ReadBackEntry) and entry.sent <= now]
    # No earlier step can have left a state before the first call.
    is_first = not call.shipment.replays and not before and call is calls(simulation)[0]
    was_unallocated = is_first or before[-1:] == [Unallocated(state="unallocated")]
    return isinstance(call.outcome, Queued) and any(
        finding == Unallocated(state="allocation_failed")
        and (was_unallocated or any(isinstance(each, Queued) for each in after[:number]))
        for number, finding in enumerate(after)
    )


def final_deadline(simulation: Simulation, shipment: Shipment, now: float) -> float:
    """The deadline, or the end of a longer quiet time."""
    return end_of_time(shipment, simulation.context(0)._replace(now=now))


def by_refusal(entry: DecisionEntry) -> bool:
    """Whether a refusal ended the step or failed the shipment."""
    reasons = ("all_steps_refused", "conflict", "invalid_request", "shipment_gone", "shipment_not_found")
    return isinstance(entry.decision, FallBack) or (
        isinstance(entry.decision, Fail) and entry.decision.reason in reasons
    )
