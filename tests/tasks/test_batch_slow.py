"""What goes on after its task: slow calls, late fallbacks, bugs, and giving up."""

import asyncio

import pytest

from config.celery_options import PATIENCE_S
from tasks.move import PAUSED_WAIT_S
from tasks.ports import Permit
from tests.rules.files import SERVICE, V1_API
from tests.rules.made import (
    ALLOCATED,
    GROUP,
    HOUR_S,
    NO_ACCESS,
    NOW,
    REFUSED,
    UNALLOCATED,
    UNKNOWN,
    VIRTUAL,
)
from tests.rules.made import SERVICE as STEP
from tests.tasks.clock import play
from tests.tasks.memory import After
from tests.tasks.trial import Trial, several


def test_a_task_does_not_wait_for_slow_calls() -> None:
    """After its patience a task returns with what fell back in time; the slow ones go on and are settled later."""

    async def work() -> Trial:
        trial = Trial(shipments=several("a b c", VIRTUAL, GROUP))
        trial.api.calls |= {"b": [REFUSED], "c": [After(seconds=30, answer=ALLOCATED)]}
        batch = await trial.work()
        assert asyncio.get_running_loop().time() == pytest.approx(PATIENCE_S)
        assert [shipment.reference for shipment in trial.in_time] == ["b"]
        assert list(batch.in_hands) == ["c"]
        assert trial.going_on is not None
        await trial.going_on
        assert batch.in_hands == {}
        return trial

    trial = play(work())
    assert trial.ledger.when("c") == pytest.approx(30)
    assert trial.ledger.verdicts("c") == ["allocated"]


def test_late_fallbacks_go_by_their_way() -> None:
    """What falls back after the task returned is handed on soon, those with the same steps before them together."""
    short, long = several("a b", VIRTUAL, GROUP), several("c", VIRTUAL, STEP, GROUP)
    trial = Trial(shipments=[*short, *long])
    trial.api.calls |= {name: [After(seconds=5.5, answer=REFUSED)] for name in ("a", "b", "c")}
    play(trial.to_the_end())
    assert trial.in_time == []
    assert sorted([shipment.reference for shipment in way] for way in trial.late) == [["a", "b"], ["c"]]


def test_a_late_fallback_waits_for_no_one() -> None:
    """A late fallback is handed on within a task's patience, while others are still slow."""
    trial = Trial(shipments=several("a b", VIRTUAL, GROUP))
    trial.api.calls |= {"a": [After(seconds=2.5, answer=REFUSED)], "b": [After(seconds=30, answer=ALLOCATED)]}
    play(trial.to_the_end())
    (handed_on,) = trial.late_at
    assert handed_on <= 2.5 + PATIENCE_S


@pytest.mark.parametrize("file", [Trial(shipments=[]).file, V1_API + SERVICE])
def test_a_bug_stops_one_shipment(file: str) -> None:
    """What is raised on one shipment's way leaves the others to their ends, and is raised by what goes on."""
    trial = Trial(shipments=several("a b c d", STEP, GROUP), file=file)
    trial.api.calls |= {"a": [UNKNOWN], "b": [REFUSED]}
    trial.api.readings["a"] = [RuntimeError("a bug")]
    with pytest.raises(BaseExceptionGroup) as raised:
        play(trial.to_the_end())
    assert raised.group_contains(RuntimeError, match="a bug")
    assert [trial.ledger.verdicts(name) for name in ("a", "b", "c")] == [["keep"], ["hand"], ["allocated"]]
    assert [shipment.reference for shipment in trial.in_time] == ["b"]


def test_a_bug_does_not_stop_slow_calls() -> None:
    """Slow calls go on beside a bug, and their late fallbacks are handed on."""
    trial = Trial(shipments=several("a b c", VIRTUAL, GROUP))
    trial.api.calls |= {
        "a": [RuntimeError("a bug")],
        "b": [After(seconds=9, answer=REFUSED)],
        "c": [After(seconds=9, answer=RuntimeError("another"))],
    }
    with pytest.raises(BaseExceptionGroup) as raised:
        play(trial.to_the_end())
    assert raised.group_contains(RuntimeError, match="a bug")
    assert raised.group_contains(RuntimeError, match="another")
    assert [[shipment.reference for shipment in way] for way in trial.late] == [["b"]]


async def given_up(trial: Trial) -> None:
    """Work as long as a task may, then hand back, as a worker does that is told to end."""
    batch = await trial.work()
    assert trial.going_on is not None
    trial.going_on.cancel()
    await batch.hand_back()
    assert batch.in_hands == {}
    await asyncio.sleep(HOUR_S)


def test_a_call_that_is_given_up_is_in_doubt() -> None:
    """A call whose answer nobody waits for counts as an unknown attempt; the shipment is due at once, to be read."""
    trial = Trial(shipments=several("a", attempts=1, attempted=0, entries=1))
    trial.api.calls["a"] = [After(seconds=30, answer=ALLOCATED)]
    play(given_up(trial))
    last = trial.ledger.last("a")
    assert last.due - NOW == pytest.approx(PATIENCE_S)
    progress = last.shipment.progress
    assert (progress.doubt, progress.unknowns, progress.attempts, progress.attempted) == (True, 1, 2, 0)
    assert trial.ledger.verdicts("a") == ["park"]


def test_a_call_that_never_went_out_leaves_no_doubt() -> None:
    """Whoever still waited for leave to call is handed back as he came, and does not call afterwards."""
    trial = Trial(shipments=several("a"))
    trial.ledger.permits["a"] = [Permit(held=True, wait_s=20)]
    play(given_up(trial))
    assert trial.ledger.last("a").shipment == trial.shipments[0]
    assert trial.api.called == []


def test_a_reading_that_is_given_up_is_due_again() -> None:
    """A shipment that was being read back is handed back with what was known before, and read by the next one."""
    trial = Trial(shipments=several("a"))
    trial.api.calls["a"] = [UNKNOWN]
    trial.api.readings["a"] = [After(seconds=30, answer=UNALLOCATED)]
    play(given_up(trial))
    progress = trial.ledger.last("a").shipment.progress
    assert (progress.doubt, progress.unknowns, progress.attempts, progress.entries) == (True, 1, 1, 1)
    assert trial.ledger.verdicts("a") == ["keep", "park"]
    assert len(trial.api.called) == 1


def test_only_what_is_left_is_handed_back() -> None:
    """What was settled in time stays settled."""
    trial = Trial(shipments=several("a b"))
    trial.api.calls["b"] = [After(seconds=30, answer=ALLOCATED)]
    play(given_up(trial))
    assert [trial.ledger.verdicts(name) for name in ("a", "b")] == [["allocated"], ["park"]]


@pytest.mark.parametrize("state", [{"key": None}, {"paused": "the key does not work"}])
def test_a_paused_merchant_is_not_called(state: dict[str, str | None]) -> None:
    """Without a key that works nothing is asked for, and every shipment waits, the doubtful ones too."""
    for file in (Trial(shipments=[]).file, V1_API + SERVICE):
        trial = Trial(shipments=[*several("a b"), *several("c", doubt=True)], file=file, **state)  # type: ignore[arg-type]
        play(trial.work())
        assert (trial.api.called, trial.api.read, trial.ledger.asked) == ([], [], [])
        for name in ("a", "b", "c"):
            assert trial.ledger.verdicts(name) == ["park"]
            assert trial.ledger.last(name).due - NOW == pytest.approx(PAUSED_WAIT_S)


def test_a_paused_merchants_shipment_fails_at_its_deadline() -> None:
    """The wait for a key ends with the deadline, as unauthorised."""
    trial = Trial(shipments=several("a", age_s=48 * HOUR_S), key=None)
    play(trial.work())
    assert trial.ledger.last("a").reason == "unauthorised"
    assert trial.told.failures == [("a", "unauthorised")]


def test_a_key_that_does_not_work_pauses_once() -> None:
    """The merchant is paused with the digest of its file and key, and a person is told once."""
    trial = Trial(shipments=several("a b"))
    trial.api.calls |= {"a": [NO_ACCESS], "b": [NO_ACCESS]}
    play(trial.work())
    assert trial.ledger.paused == {"acme": ("the key does not work", "digest-1")}
    assert trial.told.pauses == [("acme", "the key does not work")]
    assert [trial.ledger.verdicts(name) for name in ("a", "b")] == [["park"], ["park"]]
    assert trial.told.failures == []
