"""A bulk call that is refused as a whole: only the bad shipment loses its step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.rules.outcome import BulkRefused
from tasks.work.grouping import SPLIT_WAIT_S
from tests.factories.batch_run import BatchRun, make_shipments
from tests.factories.merchant_files import SERVICE, V1_API, V2_API
from tests.factories.scripted_api import Delayed, ScriptedApi
from tests.factories.shipments import ALLOCATED, FORBIDDEN, GROUP, HOUR_S, NOW, PARTLY_REFUSED, UNALLOCATED, open_call
from tests.factories.shipments import SERVICE as STEP
from tests.factories.virtual_clock import run_virtual

V1 = V1_API + SERVICE + "[retry]\nquiet_seconds = 10\n"
BULK = V2_API + "bulk = true\n" + SERVICE
QUIET_S = 10


def numbered(count: int) -> list[str]:
    """A number of references."""
    return [f"s{number}" for number in range(count)]


def bulk_run(count: int, *bad: str, file: str = BULK, bulk_refusal: BulkRefused | None = None) -> BatchRun:
    """A bulk call with some bad shipments."""
    api = ScriptedApi(bad=set(bad)) if bulk_refusal is None else ScriptedApi(bad=set(bad), bulk_refusal=bulk_refusal)
    return BatchRun(shipments=make_shipments(" ".join(numbered(count)), STEP, GROUP), file=file, api=api)


@given(st.sets(st.sampled_from(numbered(11)), max_size=3))
def test_only_the_bad_ones_lose_their_step(bad: set[str]) -> None:
    """Whichever are bad, the others are allocated, all within one visit, and no attempts are counted."""
    run = bulk_run(11, *bad)
    run_virtual(run.run_to_completion())
    for name in numbered(11):
        last = run.ledger.last(name)
        assert last.verdict == ("hand" if name in bad else "allocated")
        assert last.shipment.progress.open_calls == 0
    assert sorted(shipment.reference for shipment in run.in_time) == sorted(bad)
    assert run.api.read == []


def test_v2_is_split_in_halves_at_once() -> None:
    """The call is repeated at once with halves of the refused shipments, down to the bad one."""
    run = bulk_run(8, "s5")
    run_virtual(run.run_to_completion())
    calls = [references for _, references in run.api.called]
    everybody = tuple(numbered(8))
    assert calls == [everybody, everybody[:4], everybody[4:], ("s4", "s5"), ("s4",), ("s5",), ("s6", "s7")]
    assert run.api.times("call") == [0.0] * 7


def test_the_group_size_is_recorded() -> None:
    """Each refusal is recorded before the next call, with the size limit of the next call."""
    run = bulk_run(8, "s5")
    run_virtual(run.run_to_completion())
    companies = [report.shipment.progress.group_size for report in run.ledger.reports("s5")]
    assert companies == [4, 2, 1, None]
    assert [report.entry["outcome"] for report in run.ledger.reports("s5") if report.entry] == ["refused"] * 4


def test_a_split_resumes_from_the_record() -> None:
    """A shipment limited to groups of four is called for in fours, whichever task claims it."""
    run = BatchRun(shipments=make_shipments(" ".join(numbered(10)), STEP, GROUP, group_size=4), file=BULK)
    run_virtual(run.run_to_completion())
    assert [len(references) for _, references in run.api.called] == [4, 4, 2]


def test_v1_waits_and_reads_before_each_further_call() -> None:
    """The first refusal opens a call for each; every further call follows a read-back of all its shipments."""
    run = bulk_run(4, "s2", file=V1, bulk_refusal=PARTLY_REFUSED)
    run.api.read_backs |= {name: [UNALLOCATED] * 99 for name in numbered(4)}
    run_virtual(run.run_all_visits())
    calls = [request for request in run.api.requests if request.do == "call"]
    assert [len(call.references) for call in calls[:2]] == [4, 2]
    assert calls[1].at >= QUIET_S
    for number, call in enumerate(run.api.requests):
        if call.do == "call" and call.at > 0:
            earlier = run.api.requests[:number]
            last_call = {
                name: max(e.at for e in earlier if e.do == "call" and name in e.references) for name in call.references
            }
            for name in call.references:
                reads = [e.at for e in earlier if e.do == "read" and e.references == (name,)]
                assert any(at >= max(last_call[name], QUIET_S) for at in reads)
    assert [run.ledger.last(name).verdict for name in ("s0", "s1", "s3")] == ["allocated"] * 3
    assert run.ledger.last("s2").reason == "all_steps_refused"


def test_allocated_shipments_of_v1_are_adopted() -> None:
    """Some shipments of the refused call may be allocated: a read-back in the quiet time finds them."""
    run = bulk_run(4, "s2", file=V1, bulk_refusal=PARTLY_REFUSED)
    run.api.read_backs |= {name: [UNALLOCATED] * 99 for name in ("s2", "s3")}
    run_virtual(run.run_all_visits())
    assert [len([c for _, c in run.api.called if name in c]) for name in ("s0", "s1")] == [1, 1]
    assert [run.ledger.last(name).verdict for name in ("s0", "s1", "s3")] == ["allocated"] * 3


def test_other_batches_wait_while_one_splits() -> None:
    """One split at a time per merchant and step: shipments refused meanwhile wait and keep their group size."""
    run = bulk_run(8, "s5")
    run.ledger.splitting["acme carrier_service S"] = "another task"
    run_virtual(run.run_to_completion())
    assert [len(references) for _, references in run.api.called] == [8]
    for name in numbered(8):
        last = run.ledger.last(name)
        assert (last.verdict, last.shipment.progress.group_size) == ("park", 4)
        assert NOW + SPLIT_WAIT_S <= last.due <= NOW + 1.6 * SPLIT_WAIT_S
    del run.ledger.splitting["acme carrier_service S"]
    run_virtual(run.run_all_visits())
    assert [run.ledger.last(name).verdict for name in ("s4", "s6")] == ["allocated"] * 2


def test_other_calls_of_the_same_batch_wait() -> None:
    """A batch that needs several calls splits one of them; the others wait, including those of an earlier visit."""
    run = bulk_run(150, "s5", "s120")
    run.shipments += make_shipments("x y z", STEP, GROUP, group_size=2)
    run.api.calls |= {
        name: [Delayed(seconds=seconds, result=ALLOCATED)] for name, seconds in [("s0", 1), ("s100", 3), ("x", 5)]
    }
    run_virtual(run.run_to_completion())
    calls = [(len(references), at) for (_, references), at in zip(run.api.called, run.api.times("call"), strict=True)]
    assert calls[:3] == [(100, 0), (50, 0), (2, 0)]
    for name in ("s0", "s99", "s100", "s149"):
        last = run.ledger.last(name)
        assert (last.verdict, last.shipment.progress.group_size) == ("park", 50 if name in ("s0", "s99") else 25)
    assert run.ledger.splits == ["carrier_service S"]


def test_a_split_is_ended() -> None:
    """A split is ended in the ledger once, also after an error."""
    run = bulk_run(8, "s5")
    run_virtual(run.run_to_completion())
    assert (run.ledger.splits, run.ledger.splitting) == (["carrier_service S"], {})
    broken = bulk_run(8, "s5")
    broken.api.calls["s6"] = [UNALLOCATED, UNALLOCATED, RuntimeError("a bug")]
    with pytest.raises(BaseExceptionGroup):
        run_virtual(broken.run_to_completion())
    assert (broken.ledger.splits, broken.ledger.splitting) == (["carrier_service S"], {})
    assert [broken.ledger.last(name).verdict for name in ("s0", "s4", "s5")] == ["allocated", "allocated", "hand"]
    assert [broken.ledger.last(name).verdict for name in ("s6", "s7")] == ["park", "park"]


def test_a_403_that_others_do_not_get_is_split_too() -> None:
    """Denied once, with good responses for others since: any shipment of the call may be the cause."""
    run = BatchRun(shipments=make_shipments("a b", STEP, GROUP, denied_at=NOW - 50), file=BULK)
    run.api.calls |= {"a": [FORBIDDEN, FORBIDDEN], "b": [FORBIDDEN]}
    run.ledger.last_good_at["allocate"] = NOW - 1
    run_virtual(run.run_to_completion())
    assert [references for _, references in run.api.called] == [("a", "b"), ("a",), ("b",)]
    assert run.ledger.last("b").verdict == "allocated"
    assert (run.ledger.last("a").verdict, run.ledger.pauses) == ("park", [])


def test_a_split_repeats_read_backs_that_are_too_old() -> None:
    """A read-back clears a call for a limited time only, and a split may last longer."""
    shipments = make_shipments("a b c d", STEP, GROUP, **open_call(ago_s=HOUR_S))
    run = BatchRun(shipments=shipments, file=BULK, api=ScriptedApi(bad={"b"}))
    run.api.read_backs |= {name: [UNALLOCATED] * 9 for name in "abcd"}
    run.api.calls["a"] = [Delayed(seconds=12, result=ALLOCATED)]
    run_virtual(run.run_to_completion())
    calls = [sorted(names) for _, names in run.api.called]
    assert calls == [["a", "b", "c", "d"], ["a", "b"], ["a"], ["b"], ["c", "d"]]
    assert run.api.times("call") == pytest.approx([0, 12, 12, 12, 12])
    assert [at for at in run.api.times("read") if at < 12] == [0] * 4
    again = [request.references[0] for request in run.api.requests if request.do == "read" and request.at >= 12]
    assert sorted(again) == ["a", "b", "b", "c", "d"], "the last of b's makes its refusal count"
    assert [run.ledger.last(name).verdict for name in "acd"] == ["allocated"] * 3
