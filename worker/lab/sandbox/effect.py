"""What the API makes of one shipment of a call: it acts at once, later, or not at all. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from worker.lab.sandbox.fault import Fault
from worker.lab.sandbox.faults import Hit, Struck

Way = Literal["at_once", "late", "lost", "queued", "stuck", "refused", "skipped"]
"""How the API takes a shipment whose state it has admitted.

`late` and `lost` are accepted and change nothing yet, or ever. `refused` is told that its state is wrong, though it is
not. `skipped` is not looked at by a call for many.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """The way, and what goes with it.

    `delay_s` is how long the state stays as it was; `queue_s` how long it is `allocating` then, None being the usual
    time. With `conflict` a wrong state is told as two rules that contradict each other. A shipment that is not
    `listed` is missing in the answer to a call for many.
    """

    way: Way = "at_once"
    delay_s: float = 0.0
    queue_s: float | None = None
    conflict: bool = False
    listed: bool = True


Special = Mapping[str, Course]
"""The shipments of a call that do not simply take the usual course, by reference."""

AT_ONCE = Course()
SKIPPED = Course(way="skipped", listed=False)
_QUEUED = Course(way="queued")
ORDINARY: Special = {}


def courses(struck: Struck) -> Special:
    """The courses of the shipments that a fault strikes singly."""
    if not struck.single:
        return ORDINARY
    return {reference: _course(hit) for reference, hit in struck.single.items()}


def put_off(fault: Fault, *, vain: bool, listed: bool = True) -> Course:
    """The course of a shipment that the API acts on late, if ever."""
    return Course(way="lost" if vain else "late", delay_s=fault.late_s, listed=listed)


def queued_course(course: Course) -> Course:
    """The course in a call that queues its shipments: none is decided at once."""
    if course is AT_ONCE:
        return _QUEUED
    return replace(course, way="queued") if course.way == "at_once" else course


def _course(hit: Hit) -> Course:
    fault = hit.fault
    if fault.fault == "late" or fault.late_s:
        return put_off(fault, vain=hit.vain, listed=fault.fault != "omit")
    match fault.fault:
        case "queued":
            return Course(way="queued", delay_s=fault.lag_s, queue_s=fault.queue_s)
        case "stuck":
            return Course(way="stuck")
        case "omit":
            return Course(listed=False) if fault.acts else SKIPPED
        case _:
            return AT_ONCE
