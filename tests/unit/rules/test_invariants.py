"""Invariants of every shipment, whatever the API responds, however late it acts, however often workers are lost."""

from collections import Counter

from hypothesis import given

from tasks.rules.before_call import HOPELESS_LOSSES, LAST_READ_S
from tasks.rules.decision import Fail, Park, Settle
from tasks.rules.next_decision import PAUSED_WAIT_S
from tasks.rules.outcome import BulkRefused, NotSent, NotYet, Queued, Refused, Throttled, Unallocated, Unknown
from tasks.rules.progress import parse_progress
from tests.factories.scenarios import SCENARIOS, Scenario
from tests.unit.rules.invariants import (
    SLACK_S,
    by_refusal,
    calls,
    decisions,
    final_deadline,
    is_over,
    keeps_all_reports,
    open_calls_before,
    open_for_s,
    periods,
    read_backs,
    was_read_after,
    was_seen_to_fail,
)
from tests.unit.rules.simulation import Simulation
from tests.unit.rules.simulation_log import CallEntry, DecisionEntry, ReadBackEntry

LONGEST_IDLE_S = 3600.0 + PAUSED_WAIT_S
"""A call, a read-back or the deadline follows within this time: an hour for a `Retry-After`, after a pause."""

MAX_REQUESTS_PER_VISIT = 8


@given(SCENARIOS)
def test_no_shipment_is_booked_twice(scenario: Scenario) -> None:
    """However late the API acts on an open call, up to nearly the quiet (queue) time, it books a shipment once."""
    assert Simulation(scenario=scenario).api.final_bookings() <= 1


@given(SCENARIOS)
def test_between_two_calls(scenario: Scenario) -> None:
    """Between an open call and the next one, a read-back after the quiet (queue) time finds no allocation."""
    simulation = Simulation(scenario=scenario)
    for number, call in enumerate(calls(simulation)):
        for earlier in open_calls_before(simulation, call):
            read = was_read_after(simulation, earlier, open_for_s(simulation, earlier), call.start)
            assert read or was_seen_to_fail(simulation, earlier, call.start)
        for earlier in calls(simulation)[:number]:
            if isinstance(earlier.outcome, BulkRefused) and earlier.outcome.partly:
                assert was_read_after(simulation, earlier, 0.0, call.start)


@given(SCENARIOS)
def test_no_early_failure(scenario: Scenario) -> None:
    """No shipment fails while a call may take effect, for time before its deadline, or although it is allocated.

    Exceptions, stated in the message: it could not be read back, or was still allocating.
    """
    simulation = Simulation(scenario=scenario)
    for entry in decisions(simulation):
        if not isinstance(entry.decision, Fail):
            continue
        assert all(is_over(simulation, call, entry.now) for call in open_calls_before(simulation, entry))
        message, deadline = entry.decision.message, entry.decision.shipment.received + scenario.retry.deadline_s
        assert entry.now >= deadline - SLACK_S or entry.decision.reason not in ("deadline_passed", "unauthorised")
        if entry.booked:
            assert "could not be read back" in message or "allocating it" in message


@given(SCENARIOS)
def test_a_refusal_counts_after_a_read_back(scenario: Scenario) -> None:
    """Only a definite refusal falls back; after an open call it counts once a later read-back confirms it."""
    simulation = Simulation(scenario=scenario)
    for entry in decisions(simulation):
        if not by_refusal(entry):
            continue
        if isinstance(entry.subject, ReadBackEntry) and isinstance(entry.subject.finding, Unallocated):
            before = entry.subject.shipment.progress
            assert before.refusal is not None or before.open_kind == "queued"
        elif isinstance(entry.subject, CallEntry):
            assert isinstance(entry.decision, Fail) or (
                isinstance(entry.subject.outcome, Refused) and entry.subject.outcome.certain
            )
            assert entry.subject.shipment.progress.open_kind is None
        elif not isinstance(entry.subject, ReadBackEntry):
            assert isinstance(entry.subject, Refused), "the response to a quote request"


@given(SCENARIOS)
def test_a_cancelled_shipment_gets_no_call(scenario: Scenario) -> None:
    """From then on it is only read back; it ends allocated or failed."""
    simulation = Simulation(scenario=scenario)
    if simulation.cancelled_at is not None:
        end = simulation.replayed_at[0] if simulation.replayed_at else None
        after = simulation.log[simulation.cancelled_at : end]
        assert not [entry for entry in after if isinstance(entry, CallEntry)]
        last = [entry for entry in after if isinstance(entry, DecisionEntry)][-1].decision
        assert isinstance(last, Settle | Fail)


NO_REFUSAL = Unknown | Throttled | NotSent | NotYet | Queued


@given(SCENARIOS)
def test_no_outage_changes_the_step(scenario: Scenario) -> None:
    """Unknown, throttled, not sent, not yet and queued keep a shipment at its step, on calls and read-backs."""
    for entry in decisions(Simulation(scenario=scenario)):
        match entry.subject:
            case CallEntry(outcome=outcome) | ReadBackEntry(finding=outcome) if isinstance(outcome, NO_REFUSAL):
                assert entry.decision.shipment.progress.step == entry.subject.shipment.progress.step


@given(SCENARIOS)
def test_no_shipment_gets_stuck(scenario: Scenario) -> None:
    """In every unsettled state a call, a read-back or the deadline follows within 70 minutes, unless it is blocked."""
    simulation, idle_s = Simulation(scenario=scenario), 0.0
    for entry in simulation.log:
        if not isinstance(entry, DecisionEntry) or entry.subject is not None or entry.blocked:
            idle_s = 0.0
        if not isinstance(entry, DecisionEntry) or not isinstance(entry.decision, Park):
            continue
        shipment, back = entry.decision.shipment, entry.now + entry.decision.wait_s
        end = final_deadline(simulation, shipment, entry.now)
        assert back <= max(end, entry.now) + (LAST_READ_S if entry.blocked else SLACK_S)
        idle_s += entry.decision.wait_s
        assert idle_s <= LONGEST_IDLE_S or back >= end - SLACK_S or shipment.losses >= HOPELESS_LOSSES


@given(SCENARIOS)
def test_no_call_starts_too_late(scenario: Scenario) -> None:
    """Every call, and the quiet time that may follow it, end before the deadline."""
    for call in calls(Simulation(scenario=scenario)):
        deadline = call.shipment.received + scenario.retry.deadline_s
        assert call.start + scenario.timeout_s + scenario.retry.quiet_s <= deadline + SLACK_S


@given(SCENARIOS)
def test_few_requests(scenario: Scenario) -> None:
    """A visit has a few requests, and a quiet time has ten read-backs at most."""
    simulation, in_a_row = Simulation(scenario=scenario), 0
    for entry in simulation.log:
        splits = isinstance(entry, CallEntry) and isinstance(entry.outcome, BulkRefused)
        begins = isinstance(entry, DecisionEntry) and entry.subject is None
        in_a_row = 0 if splits or begins else in_a_row + isinstance(entry, CallEntry | ReadBackEntry)
        assert in_a_row <= MAX_REQUESTS_PER_VISIT
    if any(turn.interruption in ("changed", "forgotten") for turn in scenario.turns):
        return
    for call in calls(simulation):
        over = call.end + open_for_s(simulation, call)
        inside = [read_back.finding for read_back in read_backs(simulation) if call.end < read_back.sent < over]
        # A shipment seen in the API's queue is read once a minute.
        assert len(inside) < 10 or any(isinstance(said, Queued) for said in (call.outcome, *inside))


@given(SCENARIOS)
def test_counters(scenario: Scenario) -> None:
    """Every call is an attempt, except one of a lost worker; open calls per step are bounded."""
    simulation = Simulation(scenario=scenario)
    if not keeps_all_reports(simulation):
        return
    for log, last in periods(simulation):
        feedback = [call for call in log if isinstance(call, CallEntry) and not call.is_lost]
        open_calls = Counter(
            call.shipment.progress.step
            for call in feedback
            if open_for_s(simulation, call) and not isinstance(call.outcome, BulkRefused)
        )
        assert max(open_calls.values(), default=0) <= scenario.retry.attempts
        if isinstance(last.decision, Fail) and last.decision.reason == "attempts_exhausted":
            assert open_calls[last.decision.shipment.progress.step] == scenario.retry.attempts
    everything = [call for call in calls(simulation) if not call.is_lost]
    assert decisions(simulation)[-1].decision.shipment.progress.attempts == len(everything)


@given(SCENARIOS)
def test_any_worker_can_continue(scenario: Scenario) -> None:
    """The progress written after every decision is the complete state of the shipment."""
    for entry in decisions(Simulation(scenario=scenario)):
        progress = entry.decision.shipment.progress
        assert parse_progress(progress.as_json()) == progress
