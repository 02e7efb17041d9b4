"""The demo's verdict: every deviation from the expected result is reported."""

from dataclasses import replace
from typing import Any

import pytest

from tasks.rules.progress import Progress
from tasks.rules.shipment import Shipment
from worker.lab.demo import verdict
from worker.lab.demo.observe import Refusal, Seen
from worker.lab.demo.scene import Ending, Scene
from worker.lab.demo.scenes import SCENES
from worker.ledger.records import Record, Settled

SEED = SCENES[0]
GOOD = {"allocated": 11, "allocated_twice": [], "blind_repeats": []}


def seen(*, outcomes: tuple[str, ...] = ("allocated",), events: int = 1, **data: Any) -> Seen:
    """The expected result of the seed's shipment, with these differences."""
    data = {"carrier": {"service_reference": "FF_LINET-00001"}, "adopted": False, **data}
    (key,) = SEED.keys
    shipment = Shipment(
        merchant=key[0],
        reference=key[1],
        order="1001",
        order_event="evt-1001",
        api="shipments-v2",
        rule="default",
        steps=(),
        received=0.0,
        published=0.0,
        progress=Progress(),
    )
    record = Record(
        shipment=shipment,
        why="",
        facts={},
        history=tuple((number, {"outcome": outcome}) for number, outcome in enumerate(outcomes, start=1)),
        where=Settled(state="allocated", reason="", at=0.0, event={"data": data}),
        paused=None,
        now=0.0,
    )
    return Seen(key=key, record=record, events=events)


def test_expected_results_pass() -> None:
    """The expected ending passes, also after other outcomes: a busy machine may need another try."""
    assert verdict.of_scene(SEED, [seen()], None) == []
    assert verdict.of_scene(SEED, [seen(outcomes=("not_sent", "allocated"))], None) == []


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        seen(events=0),
        seen(events=2),
        seen(adopted=True),
        seen(carrier=None),
        seen(outcomes=("refused",)),
        seen(reason="all_steps_refused"),
    ],
)
def test_each_difference_is_found(wrong: Seen | None) -> None:
    """Each deviation is reported in one line that names the shipment."""
    (line,) = verdict.of_scene(SEED, [wrong], None)
    assert line.startswith(SEED.keys[0][1])


def test_order_of_outcomes_counts() -> None:
    """The expected outcomes count only in their order."""
    scene = replace(SEED, ending=replace(SEED.ending, path=("refused", "allocated")))
    assert verdict.of_scene(scene, [seen(outcomes=("refused", "allocated"))], None) == []
    assert verdict.of_scene(scene, [seen(outcomes=("allocated", "refused"))], None) != []


@pytest.mark.parametrize("refusal", [None, Refusal(reason="bad_order", error="")])
def test_rejection_must_be_the_expected_one(refusal: Refusal | None) -> None:
    """An event that should be rejected for one reason, but is not, or for another reason, is reported."""
    rubbish = Scene(title="", before="", after="", rejected="bad_json")
    assert verdict.of_scene(rubbish, [], Refusal(reason="bad_json", error="")) == []
    assert verdict.of_scene(rubbish, [], refusal) != []


@pytest.mark.parametrize("wrong", [{"allocated": 12}, {"allocated_twice": ["sp_1"]}, {"blind_repeats": ["sp_1"]}])
def test_the_counts_of_the_api_are_compared(wrong: dict[str, Any]) -> None:
    """Another number of allocations, a second one, or a call for an allocated shipment: each is reported."""
    assert verdict.of_counts(GOOD, 11) == []
    assert len(verdict.of_counts({**GOOD, **wrong}, 11)) == 1


def test_allocations_are_counted_once() -> None:
    """A shipment that is ordered twice is expected once, a failed one not at all."""
    fails = replace(SCENES[1], ending=Ending(state="failed"))
    assert verdict.expected_allocations([SEED, SEED, fails]) == 1
