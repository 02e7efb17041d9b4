"""Chooses the faults of a call. Nothing here touches a connection."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from worker.lab.sandbox.fault import PER_SHIPMENT, Fault, FaultName, Kind

_WIDTH = 8
_RANGE = float(1 << (8 * _WIDTH))


@dataclass(frozen=True, kw_only=True, slots=True)
class ShipmentFault:
    """A fault as it applies to one shipment of a call; `never_acts`: the delayed action never happens."""

    fault: Fault
    never_acts: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CallFaults:
    """The faults of one call: of the whole call, and of single shipments in it.

    `never_acts`: the shipments for which the delayed action of the whole call's fault never happens.
    """

    whole: Fault | None = None
    never_acts: frozenset[str] = frozenset()
    single: dict[str, ShipmentFault] = field(default_factory=dict)

    def name_for(self, reference: str) -> FaultName | None:
        """The fault that applies to this shipment in the call."""
        if self.whole is not None:
            return self.whole.fault
        return self.single[reference].fault.fault if reference in self.single else None


NO_FAULTS = CallFaults()


def draw(seed: int, place: int, reference: str, nth: int) -> float:
    """A number in [0, 1) for a shipment's nth match with the fault at this position in the list.

    It depends on nothing else, so runs repeat regardless of the order in which calls arrive.
    """
    text = f"{seed}/{place}/{reference}/{nth}".encode()
    return int.from_bytes(blake2b(text, digest_size=_WIDTH).digest(), "big") / _RANGE


@dataclass(kw_only=True, slots=True)
class _ActiveFault:
    """An active fault, and how often it matched and applied."""

    fault: Fault
    place: int
    met: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    delayed: Counter[str] = field(default_factory=Counter)
    total: int = 0

    def applies(self, reference: str, seed: int) -> bool:
        """Whether the fault applies to this shipment now; counts the match."""
        self.met[reference] += 1
        if self._spent(reference) or draw(seed, self.place, reference, self.met[reference]) >= self.fault.share:
            return False
        self.total += 1
        self.struck[reference] += 1
        return True

    def never_acts(self, reference: str, seed: int) -> bool:
        """Whether the delayed action for this shipment never happens; drawn separately."""
        if self.fault.acts_share == 1:
            return False
        self.delayed[reference] += 1
        return draw(seed, ~self.place, reference, self.delayed[reference]) >= self.fault.acts_share

    def _spent(self, reference: str) -> bool:
        fault = self.fault
        over_all = fault.times is not None and self.total >= fault.times
        return over_all or (fault.times_each is not None and self.struck[reference] >= fault.times_each)


class Faults:
    """The active faults, in the order in which they were added."""

    def __init__(self, seed: int) -> None:
        """Start with none."""
        self._seed = seed
        self._active: list[_ActiveFault] = []

    def add(self, faults: Iterable[Fault]) -> None:
        """Append faults to the active ones."""
        for fault in faults:
            self._active.append(_ActiveFault(fault=fault, place=len(self._active)))

    def clear(self) -> None:
        """Remove all faults; delayed actions still happen."""
        self._active.clear()

    def draw_for(self, kind: Kind, references: Sequence[str]) -> CallFaults:
        """The faults of a call. A fault of the whole call is drawn once per call, not once per shipment."""
        if not self._active:
            return NO_FAULTS
        whole: _ActiveFault | None = None
        single: dict[str, ShipmentFault] = {}
        for active in self._active:
            met = [each for each in references if active.fault.concerns(kind, each)]
            if active.fault.fault in PER_SHIPMENT:
                hit = [each for each in met if each not in single and active.applies(each, self._seed)]
                single.update({each: self._hit(active, each) for each in hit})
            elif met and whole is None and active.applies(met[0], self._seed):
                whole = active
        if whole is None:
            return CallFaults(single=single)
        never_acts = frozenset(each for each in references if whole.never_acts(each, self._seed))
        return CallFaults(whole=whole.fault, never_acts=never_acts, single=single)

    def _hit(self, active: _ActiveFault, reference: str) -> ShipmentFault:
        return ShipmentFault(fault=active.fault, never_acts=active.never_acts(reference, self._seed))
