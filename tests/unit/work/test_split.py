"""A call for many that is refused as a whole, shipment by shipment: only the bad one loses its step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.rules.outcome import BulkRefused
from tasks.work.grouping import SPLIT_WAIT_S
from tests.factories.merchant_files import SERVICE, V1_API, V2_API
from tests.factories.scripted_api import After, ScriptedApi
from tests.factories.shipments import ALLOCATED, FORBIDDEN, GROUP, HOUR_S, NOW, PARTLY, UNALLOCATED, opened
from tests.factories.shipments import SERVICE as STEP
from tests.factories.trial import Trial, several
from tests.factories.virtual_clock import play

V1 = V1_API + SERVICE + "[retry]\nquiet_seconds = 10\n"
BULK = V2_API + "bulk = true\n" + SERVICE
QUIET_S = 10


def numbered(count: int) -> list[str]:
    """So many references."""
    return [f"s{number}" for number in range(count)]


def trial_of(count: int, *bad: str, file: str = BULK, together: BulkRefused | None = None) -> Trial:
    """A call for so many, of which some are bad."""
    api = ScriptedApi(bad=set(bad)) if together is None else ScriptedApi(bad=set(bad), together=together)
    return Trial(shipments=several(" ".join(numbered(count)), STEP, GROUP), file=file, api=api)


@given(st.sets(st.sampled_from(numbered(11)), max_size=3))
def test_only_the_bad_ones_lose_their_step(bad: set[str]) -> None:
    """Whichever they are, the others are allocated, all within one visit, and nobody's attempts are counted."""
    trial = trial_of(11, *bad)
    play(trial.to_the_end())
    for name in numbered(11):
        last = trial.ledger.last(name)
        assert last.verdict == ("hand" if name in bad else "allocated")
        assert last.shipment.progress.open_calls == 0
    assert sorted(shipment.reference for shipment in trial.in_time) == sorted(bad)
    assert trial.api.read == []


def test_v2_is_split_in_halves_at_once() -> None:
    """The call is repeated at once with halves of those who were refused, down to the bad one."""
    trial = trial_of(8, "s5")
    play(trial.to_the_end())
    calls = [references for _, references in trial.api.called]
    everybody = tuple(numbered(8))
    assert calls == [everybody, everybody[:4], everybody[4:], ("s4", "s5"), ("s4",), ("s5",), ("s6", "s7")]
    assert trial.api.times("call") == [0.0] * 7


def test_how_far_it_was_isolated_is_in_the_record() -> None:
    """Each refusal is written before the next call, with the most that the next one may carry."""
    trial = trial_of(8, "s5")
    play(trial.to_the_end())
    companies = [report.shipment.progress.group_size for report in trial.ledger.reports("s5")]
    assert companies == [4, 2, 1, None]
    assert [report.entry["outcome"] for report in trial.ledger.reports("s5") if report.entry] == ["refused"] * 4


def test_a_split_goes_on_where_it_was_left() -> None:
    """Who was isolated to four goes in calls for four, whoever takes it up."""
    trial = Trial(shipments=several(" ".join(numbered(10)), STEP, GROUP, group_size=4), file=BULK)
    play(trial.to_the_end())
    assert [len(references) for _, references in trial.api.called] == [4, 4, 2]


def test_v1_waits_and_reads_before_each_further_call() -> None:
    """The first refusal opens a call for each; every further call comes after a read-back of all who are in it."""
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


def test_what_went_through_of_v1_is_adopted() -> None:
    """A part of the refused call may have been allocated: it is found in the quiet time, and not called for again."""
    trial = trial_of(4, "s2", file=V1, together=PARTLY)
    trial.api.readings |= {name: [UNALLOCATED] * 99 for name in ("s2", "s3")}
    play(trial.visit_by_visit())
    assert [len([c for _, c in trial.api.called if name in c]) for name in ("s0", "s1")] == [1, 1]
    assert [trial.ledger.last(name).verdict for name in ("s0", "s1", "s3")] == ["allocated"] * 3


def test_other_batches_wait_while_one_splits() -> None:
    """One split at a time for a merchant and step: who is refused meanwhile waits with what it has learnt."""
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


def test_so_do_other_calls_of_the_same_task() -> None:
    """A batch that needs several calls splits one of them, and the others wait, those from an earlier visit too."""
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


def test_a_split_lets_the_next_one_begin() -> None:
    """Its place is given back once, at its end, also after a bug."""
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
    """Denied once, and others with the same key are answered well since: any one of the call may be to blame."""
    trial = Trial(shipments=several("a b", STEP, GROUP, denied_at=NOW - 50), file=BULK)
    trial.api.calls |= {"a": [FORBIDDEN, FORBIDDEN], "b": [FORBIDDEN]}
    trial.ledger.good_at["allocate"] = NOW - 1
    play(trial.to_the_end())
    assert [references for _, references in trial.api.called] == [("a", "b"), ("a",), ("b",)]
    assert trial.ledger.last("b").verdict == "allocated"
    assert (trial.ledger.last("a").verdict, trial.ledger.pauses) == ("park", [])


def test_a_split_reads_again_what_has_become_too_old() -> None:
    """Of shipments with an open call, a read-back allows the call for a while only, and a split may take longer."""
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
