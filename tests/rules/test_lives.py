"""What holds in every life of a shipment, whatever the API answers and however often workers die."""

from collections import Counter
from itertools import pairwise

from hypothesis import given

from tasks.move import Call, Fail, FallBack, Move, Park, Read, Settle
from tasks.outcome import Finding, NotSent, NotYet, Outcome, Queued, Refused, Throttled, Unallocated, Unknown
from tests.rules.lives import WORLDS, Moved, World, kept, life


@given(WORLDS)
def test_every_life_has_one_end(world: World) -> None:
    """A shipment is settled or fails, exactly once, and the deadline sees to it when nothing else does."""
    moves = [moved.move for moved in life(world)]
    assert isinstance(moves[-1], Settle | Fail)
    assert not any(isinstance(move, Settle | Fail) for move in moves[:-1])


@given(WORLDS)
def test_no_wait_goes_beyond_the_deadline(world: World) -> None:
    """Whoever is parked comes back by the deadline."""
    for moved in life(world):
        if isinstance(moved.move, Park):
            assert moved.move.wait_s >= 0
            assert moved.now + moved.move.wait_s <= max(moved.now, world.deadline) + 1e-6


@given(WORLDS)
def test_nobody_lingers_after_the_deadline(world: World) -> None:
    """Past the deadline nothing is parked for another visit, so that a late shipment ends in the one it has."""
    late = [moved.move for moved in life(world) if moved.now > world.deadline]
    assert not any(isinstance(move, Park) for move in late)


@given(WORLDS)
def test_no_call_while_an_answer_is_unread(world: World) -> None:
    """After a call that may have gone through, only a read-back that says "not allocated" allows another."""
    for moved in life(world):
        if isinstance(moved.move, Call):
            assert not moved.move.shipment.progress.must_read
            assert moved.read is None or isinstance(moved.read, Unallocated)


@given(WORLDS)
def test_only_a_definite_refusal_falls_back(world: World) -> None:
    """A step is left for the next one after a certain refusal, or after a read-back that makes one certain."""
    for before, moved in pairwise(life(world)):
        if isinstance(moved.move, FallBack):
            open_until_now = before.move.shipment.progress
            certain = isinstance(moved.called, Refused) and moved.called.certain
            made_certain = open_until_now.unread_refusal is not None or open_until_now.queued_at is not None
            assert certain or (isinstance(moved.read, Unallocated) and made_certain)
            assert moved.move.shipment.progress.step == open_until_now.step + 1


NO_REFUSAL = Unknown | Throttled | NotSent | NotYet | Queued


@given(WORLDS)
def test_no_outage_changes_the_step(world: World) -> None:
    """Unknown, throttled, not sent, not yet and queued leave a shipment at its step, on call and on read-back."""
    for before, moved in pairwise(life(world)):
        answer: Outcome | Finding | None = moved.called or moved.read
        if isinstance(answer, NO_REFUSAL):
            assert moved.move.shipment.progress.step == before.move.shipment.progress.step


def unknown_calls(moves: list[Moved]) -> Counter[int]:
    """How many calls of each step came back unknown, or lost their worker."""
    return Counter(
        before.move.shipment.progress.step
        for before, moved in pairwise(moves)
        if isinstance(before.move, Call) and (moved.called is None or isinstance(moved.called, Unknown))
    )


@given(WORLDS)
def test_unknown_calls_of_a_step_are_bounded(world: World) -> None:
    """No step has more unknown calls than the file says, those of lost workers among them."""
    unknown = unknown_calls(list(life(world)))
    assert max(unknown.values(), default=0) <= world.retry.attempts


@given(WORLDS)
def test_nothing_else_exhausts_the_attempts(world: World) -> None:
    """Throttled, not sent, not yet and queued calls count towards the deadline alone."""
    moves = list(life(world))
    last = moves[-1].move
    if isinstance(last, Fail) and last.reason == "attempts_exhausted":
        assert unknown_calls(moves)[last.shipment.progress.step] == world.retry.attempts


@given(WORLDS)
def test_no_failure_while_the_last_answer_is_unknown(world: World) -> None:
    """Before its deadline no shipment fails whose last outcome is unknown and unread; at the deadline it says so."""
    *_, last = life(world)
    if isinstance(last.move, Fail) and (last.move.shipment.progress.doubt or isinstance(last.called, Unknown)):
        decided = last.move.reason in ("shipment_not_found", "shipment_gone", "wrong_state") and last.read is not None
        assert decided or (last.now >= world.deadline and "may have gone through" in last.move.message)


@given(WORLDS)
def test_no_failure_for_time_before_its_time(world: World) -> None:
    """The deadline and a key that does not work end a shipment at its deadline and not before."""
    *_, last = life(world)
    if isinstance(last.move, Fail) and last.move.reason in ("deadline_passed", "unauthorised"):
        assert last.now >= world.deadline


def requests(moved: Moved) -> bool:
    """Whether the move asks the API for something."""
    return isinstance(moved.move, Call | Read)


@given(WORLDS)
def test_a_visit_is_short(world: World) -> None:
    """Within one visit a shipment asks only a few times before it leaves the task."""
    in_a_row = 0
    for moved in life(world):
        in_a_row = in_a_row + 1 if requests(moved) and (moved.called or moved.read) else int(requests(moved))
        assert in_a_row <= 6


@given(WORLDS)
def test_attempts_are_the_calls(world: World) -> None:
    """The attempts of a shipment are the calls that went out for it, and the last one is remembered."""
    moves: list[Move] = [moved.move for moved in life(world)]
    calls = [move.shipment.progress.step for move in moves[:-1] if isinstance(move, Call)]
    progress = moves[-1].shipment.progress
    assert progress.attempts == len(calls)
    assert progress.attempted == (calls[-1] if calls else None)


@given(WORLDS)
def test_any_worker_can_go_on(world: World) -> None:
    """After every move the ledger's copy of the shipment is the shipment."""
    for moved in life(world):
        assert kept(moved.move.shipment) == moved.move.shipment
