"""A bulk call that is refused as a whole: only the bad shipment loses its step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.rules.outcome import BulkRefused
from tasks.work.grouping import SPLIT_WAIT_S
from tests.factories.batch_run import Trial, several
from tests.factories.merchant_files import SERVICE, V1_API, V2_API
from tests.factories.scripted_api import After, ScriptedApi
from tests.factories.shipments import ALLOCATED, FORBIDDEN, GROUP, HOUR_S, NOW, PARTLY, UNALLOCATED, opened
from tests.factories.shipments import SERVICE as STEP
from tests.factories.virtual_clock import play

V1 = V1_API + SERVICE + "[retry]\nquiet_seconds = 10\n"
BULK = V2_API + "bulk = true\n" + SERVICE
QUIET_S = 10


def numbered(count: int) -> list[str]:
    """A number of references."""
    return [f"s{number}" for number in range(count)]


def trial_of(count: int, *bad: str, file: str = BULK, together: BulkRefused | None = None) -> Trial:
    """A bulk call with some bad shipments."""
    api = ScriptedApi(bad=set(bad)) if together is None else ScriptedApi(bad=set(bad), together=together)
    return Trial(shipments=several(" ".join(numbered(count)), STEP, GROUP), file=file, api=api)


@given(st.sets(st.sampled_from(numbered(11)), max_size=3))
def test_only_the_bad_ones_lose_their_step(bad: set[str]) -> None:
    """Whichever are bad, the others are allocated, all within one visit, and no attempts are counted."""
    trial = trial_of(11, *bad)
    play(trial.to_the_end())
    for name in numbered(11):
        last = trial.ledger.last(name)
        assert last.verdict == ("hand" if name in bad else "allocated")
        assert last.shipment.progress.open_calls == 0
    assert sorted(shipment.reference for shipment in trial.in_time) == sorted(bad)
    assert trial.api.read == []


def test_v2_is_split_in_halves_at_once() -> None:
    """The call is repeated at once with halves of the refused shipments, down to the bad one."""
    trial = trial_of(8, "s5")
    play(trial.to_the_end())
    calls = [references for _, references in trial.api.called]
    everybody = tuple(numbered(8))
    assert calls == [everybody, everybody[:4], everybody[4:], ("s4", "s5"), ("s4",), ("s5",), ("s6", "s7")]
    assert trial.api.times("call") == [0.0] * 7


def test_the_group_size_is_recorded() -> None:
    """Each refusal is recorded before the next call, with the size limit of the next call."""
    trial = trial_of(8, "s5")
    play(trial.to_the_end())
    companies = [report.shipment.progress.group_size for report in trial.ledger.reports("s5")]
    assert companies == [4, 2, 1, None]
    assert [report.entry["outcome"] for report in trial.ledger.reports("s5") if report.entry] == ["refused"] * 4


def test_a_split_resumes_from_the_record() -> None:
    """A shipment limited to groups of four is called for in fours, whichever task claims it."""
    trial = Trial(shipments=several(" ".join(numbered(10)), STEP, GROUP, group_size=4), file=BULK)
    play(trial.to_the_end())
    assert [len(references) for _, references in trial.api.called] == [4, 4, 2]


def test_v1_waits_and_reads_before_each_further_call() -> None:
    """The first refusal opens a call for each; every further call follows a read-back of all its shipments."""
    trial = trial_of(4, "s2", file=V1, together=PARTLY)
    trial.api.readings |= {name: [UNALLOCATED] * 99 for name in numbered(4)}
    play(trial.visit_by_visit())
    calls = [feedback for feedback in trial.api.feedback if feedback.do == "call"]
    assert [len(call.references) for call in calls[:2]] == [4, 2]
    assert calls[1].at >= QUIET_S
    for number, call in enumerate(trial.api.feedback):
        if call.do == "call" and call.at > 0:
            earlier = trial.api.feedback[:number]
            last_call = {
                name: max(e.at for e in earlier if e.do == "call" and name in e.references) for name in call.references
            }
            for name in call.references:
                reads = [e.at for e in earlier if e.do == "read" and e.references == (name,)]
                assert any(at >= max(last_call[name], QUIET_S) for at in reads)
    assert [trial.ledger.last(name).verdict for name in ("s0", "s1", "s3")] == ["allocated"] * 3
    assert trial.ledger.last("s2").reason == "all_steps_refused"


def test_allocated_shipments_of_v1_are_adopted() -> None:
    """Some shipments of the refused call may be allocated: a read-back in the quiet time finds them."""
    trial = trial_of(4, "s2", file=V1, together=PARTLY)
    trial.api.readings |= {name: [UNALLOCATED] * 99 for name in ("s2", "s3")}
    play(trial.visit_by_visit())
    assert [len([c for _, c in trial.api.called if name in c]) for name in ("s0", "s1")] == [1, 1]
    assert [trial.ledger.last(name).verdict for name in ("s0", "s1", "s3")] == ["allocated"] * 3


def test_other_batches_wait_while_one_splits() -> None:
    """One split at a time per merchant and step: shipments refused meanwhile wait and keep their group size."""
    trial = trial_of(8, "s5")
    trial.ledger.splitting["acme carrier_service S"] = "another task"
    play(trial.to_the_end())
    assert [len(references) for _, references in trial.api.called] == [8]
    for name in numbered(8):
        last = trial.ledger.last(name)
        assert (last.verdict, last.shipment.progress.group_size) == ("park", 4)
        assert NOW + SPLIT_WAIT_S <= last.due <= NOW + 1.6 * SPLIT_WAIT_S
    del trial.ledger.splitting["acme carrier_service S"]
    play(trial.visit_by_visit())
    assert [trial.ledger.last(name).verdict for name in ("s4", "s6")] == ["allocated"] * 2


def test_other_calls_of_the_same_batch_wait() -> None:
    """A batch that needs several calls splits one of them; the others wait, including those of an earlier visit."""
    trial = trial_of(150, "s5", "s120")
    trial.shipments += several("x y z", STEP, GROUP, group_size=2)
    trial.api.calls |= {
        name: [After(seconds=seconds, answer=ALLOCATED)] for name, seconds in [("s0", 1), ("s100", 3), ("x", 5)]
    }
    play(trial.to_the_end())
    calls = [
        (len(references), at) for (_, references), at in zip(trial.api.called, trial.api.times("call"), strict=True)
    ]
    assert calls[:3] == [(100, 0), (50, 0), (2, 0)]
    for name in ("s0", "s99", "s100", "s149"):
        last = trial.ledger.last(name)
        assert (last.verdict, last.shipment.progress.group_size) == ("park", 50 if name in ("s0", "s99") else 25)
    assert trial.ledger.splits == ["carrier_service S"]


def test_a_split_is_ended() -> None:
    """A split is ended in the ledger once, also after an error."""
    trial = trial_of(8, "s5")
    play(trial.to_the_end())
    assert (trial.ledger.splits, trial.ledger.splitting) == (["carrier_service S"], {})
    broken = trial_of(8, "s5")
    broken.api.calls["s6"] = [UNALLOCATED, UNALLOCATED, RuntimeError("a bug")]
    with pytest.raises(BaseExceptionGroup):
        play(broken.to_the_end())
    assert (broken.ledger.splits, broken.ledger.splitting) == (["carrier_service S"], {})
    assert [broken.ledger.last(name).verdict for name in ("s0", "s4", "s5")] == ["allocated", "allocated", "hand"]
    assert [broken.ledger.last(name).verdict for name in ("s6", "s7")] == ["park", "park"]


def test_a_403_that_others_do_not_get_is_split_too() -> None:
    """Denied once, with good responses for others since: any shipment of the call may be the cause."""
    trial = Trial(shipments=several("a b", STEP, GROUP, denied_at=NOW - 50), file=BULK)
    trial.api.calls |= {"a": [FORBIDDEN, FORBIDDEN], "b": [FORBIDDEN]}
    trial.ledger.good_at["allocate"] = NOW - 1
    play(trial.to_the_end())
    assert [references for _, references in trial.api.called] == [("a", "b"), ("a",), ("b",)]
    assert trial.ledger.last("b").verdict == "allocated"
    assert (trial.ledger.last("a").verdict, trial.ledger.pauses) == ("park", [])


def test_a_split_repeats_read_backs_that_are_too_old() -> None:
    """A read-back allows a call for a limited time only, and a split may take longer."""
    shipments = several("a b c d", STEP, GROUP, **opened(ago_s=HOUR_S))
    trial = Trial(shipments=shipments, file=BULK, api=ScriptedApi(bad={"b"}))
    trial.api.readings |= {name: [UNALLOCATED] * 9 for name in "abcd"}
    trial.api.calls["a"] = [After(seconds=12, answer=ALLOCATED)]
    play(trial.to_the_end())
    calls = [sorted(names) for _, names in trial.api.called]
    assert calls == [["a", "b", "c", "d"], ["a", "b"], ["a"], ["b"], ["c", "d"]]
    assert trial.api.times("call") == pytest.approx([0, 12, 12, 12, 12])
    assert [at for at in trial.api.times("read") if at < 12] == [0] * 4
    again = [feedback.references[0] for feedback in trial.api.feedback if feedback.do == "read" and feedback.at >= 12]
    assert sorted(again) == ["a", "b", "b", "c", "d"], "the last of b's makes its refusal count"
    assert [trial.ledger.last(name).verdict for name in "acd"] == ["allocated"] * 3
