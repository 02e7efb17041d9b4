"""Checks the results of a scene against the expected ones."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from worker.lab.demo.observe import Refusal, Seen
from worker.lab.demo.scene import Ending, Scene


def of_scene(scene: Scene, shipments: Sequence[Seen | None], refusal: Refusal | None) -> list[str]:
    """One line per unexpected result of a scene."""
    found = refusal.reason if refusal else None
    wrong = [] if found == scene.rejected else [f"the event: rejected as {found}, expected {scene.rejected}"]
    for (_, reference), seen in zip(scene.keys, shipments, strict=True):
        if seen is None:
            wrong.append(f"{reference}: not in the ledger")
        else:
            wrong += [f"{reference}: {difference}" for difference in _differences(scene.ending, seen)]
    return wrong


def _differences(ending: Ending, seen: Seen) -> Iterator[str]:
    if seen.state == "unsettled":
        yield f"not settled in time, expected {ending.state}"
        return
    expected = {
        "state": ending.state,
        "rule": ending.rule,
        "service": ending.service,
        "reason": ending.reason,
        "adopted": ending.adopted,
        "events": 1,
    }
    found = {
        "state": seen.state,
        "rule": seen.record.shipment.rule,
        "service": seen.carrier.get("service_reference"),
        "reason": seen.data.get("reason"),
        "adopted": seen.data.get("adopted", False),
        "events": seen.events,
    }
    for name, value in expected.items():
        if found[name] != value:
            yield f"{name} is {found[name]}, expected {value}"
    if not _in_order(ending.path, seen.outcomes):
        yield f"outcomes are {', '.join(seen.outcomes)}, expected {', '.join(ending.path)}"


def _in_order(wanted: Sequence[str], found: Sequence[str]) -> bool:
    """Whether the expected outcomes occur in this order; others may come between them on a busy machine."""
    rest = iter(found)
    return all(word in rest for word in wanted)


def of_calls(before: int, after: int) -> list[str]:
    """The problem of a scene in which the API should get no call."""
    return [] if after == before else [f"the API got {after - before} calls, expected none"]


def of_counts(counts: Mapping[str, Any], expected: int) -> list[str]:
    """Problems according to the API's own counts."""
    wrong = []
    if counts["allocated"] != expected:
        wrong.append(f"the API allocated {counts['allocated']} shipments, expected {expected}")
    if counts["allocated_twice"]:
        wrong.append(f"the API allocated twice: {', '.join(counts['allocated_twice'])}")
    if counts["blind_repeats"]:
        wrong.append(f"asked for again without reading back: {', '.join(counts['blind_repeats'])}")
    return wrong


def expected_allocations(scenes: Sequence[Scene]) -> int:
    """The expected number of allocated shipments after these scenes."""
    return len({key for scene in scenes if scene.ending.state == "allocated" for key in scene.keys})
