"""What the API does with a call that a fault applies to as a whole. No connection, no waiting."""

from worker.lab.sandbox.effect import SKIPPED, Effect, Special, delayed, effects
from worker.lab.sandbox.fault import Fault, FaultName
from worker.lab.sandbox.faults import CallFaults
from worker.lab.sandbox.http_types import Endpoint, Reply

_ACTS_ANYWAY: frozenset[FaultName] = frozenset({"slow", "cut", "repeated"})
"""Faults with the API's own response, or half of it."""

_REPLACED = Reply(status=500)
"""The response of an API that did nothing; the fault replaces it."""


def carry_out(endpoint: Endpoint, fault: Fault, faults: CallFaults, now: float) -> Reply:
    """Let the API act as far as the fault allows, and return its response."""
    late = fault.late_s > 0 and endpoint.kind == "allocate"
    special = _all_late(endpoint, fault, faults) if late else effects(faults)
    if fault.fault == "repeated" and endpoint.kind == "allocate":
        endpoint.act(now, special)
        return endpoint.act(now, _second(endpoint, fault, late=late))
    if late or fault.acts or fault.fault in _ACTS_ANYWAY:
        return endpoint.act(now, special)
    if fault.partly and endpoint.in_order:
        endpoint.act(now, {**special, **_from_the_bad_one(endpoint, fault)})
    return _REPLACED


def _all_late(endpoint: Endpoint, fault: Fault, faults: CallFaults) -> Special:
    return {each: delayed(fault, never_acts=each in faults.never_acts) for each in endpoint.references}


def _second(endpoint: Endpoint, fault: Fault, *, late: bool) -> Special:
    """The second pass of a repeated call: the shipments of the first one are in the wrong state."""
    return dict.fromkeys(endpoint.references, Effect(kind="refused" if late else "at_once", conflict=fault.conflict))


def _from_the_bad_one(endpoint: Endpoint, fault: Fault) -> Special:
    bad = fault.because_of or frozenset()
    first = next(place for place, each in enumerate(endpoint.references) if each in bad)
    return dict.fromkeys(endpoint.references[first:], SKIPPED)
