"""The choice of faulty calls, as a function of seed, fault and shipment."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from worker.lab.sandbox.fault import Fault, Kind
from worker.lab.sandbox.faults import Faults, draw

references = st.text(alphabet="abcdef0123456789", min_size=1, max_size=8)


def _struck(seed: int, calls: list[str], *faults: Fault, kind: Kind = "allocate") -> list[str | None]:
    chosen = Faults(seed)
    chosen.add(faults)
    return [chosen.draw_for(kind, [reference]).name_for(reference) for reference in calls]


@given(st.integers(), st.integers(0, 9), references, st.integers(1, 99))
def test_draws_are_reproducible(seed: int, place: int, reference: str, nth: int) -> None:
    """The same call draws the same number below one in every run."""
    first = draw(seed, place, reference, nth)
    assert 0 <= first < 1
    assert draw(seed, place, reference, nth) == first


@given(st.integers(0, 99), st.lists(references, max_size=30), st.randoms())
def test_the_order_of_calls_does_not_matter(seed: int, calls: list[str], random: Random) -> None:
    """Which calls of a shipment a share strikes does not depend on the calls of others."""
    shuffled = random.sample(calls, len(calls))
    fault = Fault(fault="drop", share=0.5)
    assert sorted(zip(calls, map(str, _struck(seed, calls, fault)), strict=True)) == sorted(
        zip(shuffled, map(str, _struck(seed, shuffled, fault)), strict=True)
    )


def test_a_share_is_kept() -> None:
    """About the given share of calls is struck."""
    hits = _struck(0, [f"sp_{each}" for each in range(2000)], Fault(fault="drop", share=0.1))
    assert 150 < hits.count("drop") < 250


@given(st.integers(), st.lists(references, max_size=20))
def test_zero_and_one_are_shares(seed: int, calls: list[str]) -> None:
    """A share of 0 strikes no call and a share of 1 all."""
    assert set(_struck(seed, calls, Fault(fault="drop", share=0))) <= {None}
    assert set(_struck(seed, calls, Fault(fault="drop"))) <= {"drop"}


def test_times_counts_all_shipments() -> None:
    """A fault with `times` ends after that number of strikes, for any shipments."""
    assert _struck(0, ["a", "b", "a"], Fault(fault="drop", times=2)) == ["drop", "drop", None]


def test_times_each_counts_each_shipment() -> None:
    """A fault with `times_each` strikes every shipment that number of times."""
    assert _struck(0, ["a", "a", "b", "b"], Fault(fault="drop", times_each=1)) == ["drop", None, "drop", None]


def test_the_first_fault_wins() -> None:
    """A call is struck by the first matching fault, and then by the next one."""
    faults = Fault(fault="drop", times=1), Fault(fault="hang", references=frozenset({"a"}))
    assert _struck(0, ["a", "a", "b"], *faults) == ["drop", "hang", None]


def test_a_fault_applies_to_its_endpoints() -> None:
    """A fault on reads does not strike an allocation; a fault on any endpoint does."""
    assert _struck(0, ["a"], Fault(fault="drop", on="read")) == [None]
    assert _struck(0, ["a"], Fault(fault="drop", on="read"), kind="read") == ["drop"]
    assert _struck(0, ["a"], Fault(fault="drop"), kind="label") == ["drop"]


def test_some_faults_strike_single_shipments_of_a_call() -> None:
    """In a bulk call, an omission strikes single shipments, and a drop the whole call, with one draw."""
    faults = Faults(0)
    faults.add([Fault(fault="omit", references=frozenset({"b"})), Fault(fault="drop", times=1)])
    struck = faults.draw_for("allocate", ["a", "b"])
    assert (struck.whole and struck.whole.fault, list(struck.single)) == ("drop", ["b"])
    assert faults.draw_for("allocate", ["a", "b"]).whole is None


def test_acting_is_a_separate_draw() -> None:
    """About the given share of struck shipments is acted on, as a whole call or singly, reproducibly."""
    references = [f"sp_{each}" for each in range(2000)]
    for name in ("status", "late"):
        runs = []
        for _ in range(2):
            faults = Faults(3)
            faults.add([Fault.model_validate({"fault": name, "late_s": 1, "acts_share": 0.2})])
            struck = faults.draw_for("allocate", references)
            runs.append({*struck.never_acts, *(each for each, hit in struck.single.items() if hit.never_acts)})
        assert runs[0] == runs[1]
        assert 1500 < len(runs[0]) < 1700


def test_cleared_faults_start_again() -> None:
    """After clearing, the same faults strike the same calls as the first time."""
    calls = [f"sp_{each}" for each in range(50)]
    faults = Faults(7)
    runs = []
    for _ in range(2):
        faults.add([Fault(fault="drop", share=0.3)])
        runs.append([faults.draw_for("read", [each]).whole is None for each in calls])
        faults.clear()
    assert runs[0] == runs[1]
