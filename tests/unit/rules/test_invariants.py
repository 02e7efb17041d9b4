"""What holds in every life of a shipment, whatever the API answers, however late it acts, however often workers die."""

from collections import Counter

from hypothesis import given

from tasks.rules.before_call import HOPELESS_LOSSES, LAST_READ_S
from tasks.rules.decision import Fail, Park
from tasks.rules.next_decision import PAUSED_WAIT_S
from tasks.rules.outcome import BulkRefused, NotSent, NotYet, Queued, Refused, Throttled, Unallocated, Unknown
from tasks.rules.progress import parse_progress
from tests.factories.scenarios import SCENARIOS, Scenario
from tests.unit.rules.invariants import (
    SLACK_S,
    by_refusal,
    calls,
    decisions,
    is_over,
    never_forgotten,
    open_calls_before,
    open_for_s,
    portions,
    readings,
    time_is_over,
    was_read_after,
    was_seen_to_fail,
)
from tests.unit.rules.simulation import Life
from tests.unit.rules.simulation_log import Called, Looked, Moved

LONGEST_IDLE_S = 3600.0 + PAUSED_WAIT_S
"""Within so long a call, a read-back or the deadline follows: an hour for a `Retry-After`, after a pause."""

MAX_IN_A_VISIT = 8


@given(SCENARIOS)
def test_no_shipment_is_booked_twice(world: Scenario) -> None:
    """However late the API acts on an open call, up to nearly the quiet (queue) time, it books a shipment once."""
    assert Life(world=world).api.final_bookings() <= 1


@given(SCENARIOS)
def test_what_lies_between_two_calls(world: Scenario) -> None:
    """After an open call comes its whole time and then a read-back that found nothing, before the next call."""
    life = Life(world=world)
    for call in calls(life):
        for earlier in open_calls_before(life, call):
            read = was_read_after(life, earlier, open_for_s(life, earlier), call.start)
            assert read or was_seen_to_fail(life, earlier, call.start)
        for earlier in calls(life):
            if earlier.end <= call.start and isinstance(earlier.outcome, BulkRefused) and earlier.outcome.partly:
                assert was_read_after(life, earlier, 0.0, call.start) or earlier is call


@given(SCENARIOS)
def test_no_end_before_its_time(world: Scenario) -> None:
    """No shipment fails while a call may take effect, for time before its deadline, or although it is allocated.

    Unless it could not be read back, or the API was still at it, and the message says so.
    """
    life = Life(world=world)
    for moved in decisions(life):
        if not isinstance(moved.decision, Fail):
            continue
        assert all(is_over(life, call, moved.now) for call in open_calls_before(life, moved))
        message, deadline = moved.decision.message, moved.decision.shipment.received + world.retry.deadline_s
        assert moved.now >= deadline - SLACK_S or moved.decision.reason not in ("deadline_passed", "unauthorised")
        if moved.booked:
            assert "could not be read back" in message or "allocating it" in message


@given(SCENARIOS)
def test_a_refusal_counts_after_a_read_back(world: Scenario) -> None:
    """Only a definite refusal falls back; one that follows an open call counts once a read-back after it agrees."""
    life = Life(world=world)
    for moved in decisions(life):
        if not by_refusal(moved):
            continue
        if isinstance(moved.about, Looked) and isinstance(moved.about.finding, Unallocated):
            before = moved.about.shipment.progress
            assert before.refusal is not None or before.open_kind == "queued"
        elif isinstance(moved.about, Called):
            assert isinstance(moved.decision, Fail) or (
                isinstance(moved.about.outcome, Refused) and moved.about.outcome.certain
            )
            assert moved.about.shipment.progress.open_kind is None
        elif not isinstance(moved.about, Looked):
            assert isinstance(moved.about, Refused), "the answer to a request for quotes"


NO_REFUSAL = Unknown | Throttled | NotSent | NotYet | Queued


@given(SCENARIOS)
def test_no_outage_changes_the_step(world: Scenario) -> None:
    """Unknown, throttled, not sent, not yet and queued leave a shipment at its step, on call and on read-back."""
    for moved in decisions(Life(world=world)):
        match moved.about:
            case Called(outcome=answer) | Looked(finding=answer) if isinstance(answer, NO_REFUSAL):
                assert moved.decision.shipment.progress.step == moved.about.shipment.progress.step


@given(SCENARIOS)
def test_something_follows_soon(world: Scenario) -> None:
    """From every unsettled state a call, a read-back or the deadline follows within 70 minutes, if nothing hinders."""
    life, idle_s = Life(world=world), 0.0
    for entry in life.log:
        if not isinstance(entry, Moved) or entry.about is not None or entry.hindered:
            idle_s = 0.0
        if not isinstance(entry, Moved) or not isinstance(entry.decision, Park):
            continue
        shipment, back = entry.decision.shipment, entry.now + entry.decision.wait_s
        end = time_is_over(life, shipment, entry.now)
        assert back <= max(end, entry.now) + (LAST_READ_S if entry.hindered else SLACK_S)
        idle_s += entry.decision.wait_s
        assert idle_s <= LONGEST_IDLE_S or back >= end - SLACK_S or shipment.losses >= HOPELESS_LOSSES


@given(SCENARIOS)
def test_no_call_comes_too_late(world: Scenario) -> None:
    """Every call, and the quiet time that may follow it, fit before the deadline."""
    for call in calls(Life(world=world)):
        deadline = call.shipment.received + world.retry.deadline_s
        assert call.start + world.timeout_s + world.retry.quiet_s <= deadline + SLACK_S


@given(SCENARIOS)
def test_few_requests(world: Scenario) -> None:
    """A visit asks a few times before the shipment leaves the task, and a quiet time has ten read-backs at most."""
    life, in_a_row = Life(world=world), 0
    for entry in life.log:
        splits = isinstance(entry, Called) and isinstance(entry.outcome, BulkRefused)
        begins = isinstance(entry, Moved) and entry.about is None
        in_a_row = 0 if splits or begins else in_a_row + isinstance(entry, Called | Looked)
        assert in_a_row <= MAX_IN_A_VISIT
    if any(turn.interruption in ("changed", "forgotten") for turn in world.turns):
        return
    for call in calls(life):
        over = call.end + open_for_s(life, call)
        inside = [reading.finding for reading in readings(life) if call.end < reading.sent < over]
        # What is known to be in the API's queue is read once a minute.
        assert len(inside) < 10 or any(isinstance(said, Queued) for said in (call.outcome, *inside))


@given(SCENARIOS)
def test_what_is_counted(world: Scenario) -> None:
    """Every call is an attempt, but for one of a lost worker; those of a step that were open are bounded."""
    life = Life(world=world)
    if not never_forgotten(life):
        return
    for log, last in portions(life):
        feedback = [call for call in log if isinstance(call, Called) and not call.is_lost]
        open_calls = Counter(
            call.shipment.progress.step
            for call in feedback
            if open_for_s(life, call) and not isinstance(call.outcome, BulkRefused)
        )
        assert max(open_calls.values(), default=0) <= world.retry.attempts
        if isinstance(last.decision, Fail) and last.decision.reason == "attempts_exhausted":
            assert open_calls[last.decision.shipment.progress.step] == world.retry.attempts
    everything = [call for call in calls(life) if not call.is_lost]
    assert decisions(life)[-1].decision.shipment.progress.attempts == len(everything)


@given(SCENARIOS)
def test_any_worker_can_go_on(world: Scenario) -> None:
    """What is written of a shipment after every decision is all that is to be known of how far it has come."""
    for moved in decisions(Life(world=world)):
        progress = moved.decision.shipment.progress
        assert parse_progress(progress.as_json()) == progress
