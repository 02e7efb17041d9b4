"""How the API acts on one shipment of a call: at once, later, or not at all. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from worker.lab.sandbox.fault import Fault
from worker.lab.sandbox.faults import CallFaults, ShipmentFault

EffectKind = Literal["at_once", "late", "lost", "queued", "stuck", "refused", "skipped"]
"""How the API acts on a shipment in an allocatable state.

`late` and `lost` are accepted; `late` takes effect later, `lost` never. `refused` gets an error for its state, although
the state is right. `skipped` is not processed by a bulk call.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """The kind of the effect and its parameters.

    `delay_s`: how long the state stays unchanged. `queue_s`: how long it is `allocating` then (None: the default).
    `conflict`: a wrong state is reported as contradictory rules. `listed`: whether the response to a bulk call lists
    the shipment.
    """

    kind: EffectKind = "at_once"
    delay_s: float = 0.0
    queue_s: float | None = None
    conflict: bool = False
    listed: bool = True


Special = Mapping[str, Effect]
"""The shipments of a call that are treated differently, by reference."""

AT_ONCE = Effect()
SKIPPED = Effect(kind="skipped", listed=False)
_QUEUED = Effect(kind="queued")
ORDINARY: Special = {}


def effects(struck: CallFaults) -> Special:
    """The effects for the shipments that a fault applies to individually."""
    if not struck.single:
        return ORDINARY
    return {reference: _effect(hit) for reference, hit in struck.single.items()}


def delayed(fault: Fault, *, never_acts: bool, listed: bool = True) -> Effect:
    """The effect for a shipment that the API acts on late or never."""
    return Effect(kind="lost" if never_acts else "late", delay_s=fault.late_s, listed=listed)


def queued_effect(effect: Effect) -> Effect:
    """The effect in a call that queues its shipments: none is allocated at once."""
    if effect is AT_ONCE:
        return _QUEUED
    return replace(effect, kind="queued") if effect.kind == "at_once" else effect


def _effect(hit: ShipmentFault) -> Effect:
    fault = hit.fault
    if fault.fault == "late" or fault.late_s:
        return delayed(fault, never_acts=hit.never_acts, listed=fault.fault != "omit")
    match fault.fault:
        case "queued":
            return Effect(kind="queued", delay_s=fault.lag_s, queue_s=fault.queue_s)
        case "stuck":
            return Effect(kind="stuck")
        case "omit":
            return Effect(listed=False) if fault.acts else SKIPPED
        case _:
            return AT_ONCE
