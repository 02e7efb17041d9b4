"""What the API does with a call that a fault strikes as a whole, however it is answered. No connection, no waiting."""

from worker.lab.sandbox.effect import SKIPPED, Course, Special, courses, put_off
from worker.lab.sandbox.fault import Fault, FaultName
from worker.lab.sandbox.faults import Struck
from worker.lab.sandbox.http_types import Endpoint, Reply

_ACTS_ANYWAY: frozenset[FaultName] = frozenset({"slow", "cut", "repeated"})
"""Faults whose answer is the API's own, or half of it."""

_UNSAID = Reply(status=500)
"""The answer of an API that did nothing; the fault answers in its place."""


def carried_out(endpoint: Endpoint, fault: Fault, struck: Struck, now: float) -> Reply:
    """Let the API do what the fault leaves it to do, and give its answer."""
    late = fault.late_s > 0 and endpoint.kind == "allocate"
    special = _all_late(endpoint, fault, struck) if late else courses(struck)
    if fault.fault == "repeated" and endpoint.kind == "allocate":
        endpoint.act(now, special)
        return endpoint.act(now, _second(endpoint, fault, late=late))
    if late or fault.acts or fault.fault in _ACTS_ANYWAY:
        return endpoint.act(now, special)
    if fault.partly and endpoint.in_order:
        endpoint.act(now, {**special, **_from_the_bad_one(endpoint, fault)})
    return _UNSAID


def _all_late(endpoint: Endpoint, fault: Fault, struck: Struck) -> Special:
    return {each: put_off(fault, vain=each in struck.vain) for each in endpoint.references}


def _second(endpoint: Endpoint, fault: Fault, *, late: bool) -> Special:
    """The second pass of a repeated call: what the first took is in the wrong state, if only in the API's own eyes."""
    return dict.fromkeys(endpoint.references, Course(way="refused" if late else "at_once", conflict=fault.conflict))


def _from_the_bad_one(endpoint: Endpoint, fault: Fault) -> Special:
    bad = fault.because_of or frozenset()
    first = next(place for place, each in enumerate(endpoint.references) if each in bad)
    return dict.fromkeys(endpoint.references[first:], SKIPPED)
