"""Faults: the choice of what goes wrong with a call. Nothing here touches a connection."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from worker.lab.sandbox.fault import PER_SHIPMENT, Fault, FaultName, Kind

_WIDTH = 8
_RANGE = float(1 << (8 * _WIDTH))


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """A fault as one shipment of a call meets it; `vain`: what the fault puts off comes to nothing."""

    fault: Fault
    vain: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Struck:
    """What goes wrong with one call: with the whole of it, and with single shipments in it.

    `vain` are the shipments for which what the fault of the whole call puts off comes to nothing.
    """

    whole: Fault | None = None
    vain: frozenset[str] = frozenset()
    single: dict[str, Hit] = field(default_factory=dict)

    def name_for(self, reference: str) -> FaultName | None:
        """The fault that this shipment meets in the call."""
        if self.whole is not None:
            return self.whole.fault
        return self.single[reference].fault.fault if reference in self.single else None


UNHARMED = Struck()


def draw(seed: int, place: int, reference: str, nth: int) -> float:
    """A number in [0, 1) for a shipment's nth meeting with the fault at this place in the list.

    It depends on nothing else, so a run repeats whatever the order in which calls arrive.
    """
    text = f"{seed}/{place}/{reference}/{nth}".encode()
    return int.from_bytes(blake2b(text, digest_size=_WIDTH).digest(), "big") / _RANGE


@dataclass(kw_only=True, slots=True)
class _Armed:
    """A fault in force and how often it was met and struck."""

    fault: Fault
    place: int
    met: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    put_off: Counter[str] = field(default_factory=Counter)
    total: int = 0

    def strikes(self, reference: str, seed: int) -> bool:
        """Whether the fault strikes this shipment now; counts the meeting."""
        self.met[reference] += 1
        if self._spent(reference) or draw(seed, self.place, reference, self.met[reference]) >= self.fault.share:
            return False
        self.total += 1
        self.struck[reference] += 1
        return True

    def in_vain(self, reference: str, seed: int) -> bool:
        """Whether what the fault puts off for this shipment comes to nothing; a draw of its own."""
        if self.fault.acts_share == 1:
            return False
        self.put_off[reference] += 1
        return draw(seed, ~self.place, reference, self.put_off[reference]) >= self.fault.acts_share

    def _spent(self, reference: str) -> bool:
        fault = self.fault
        over_all = fault.times is not None and self.total >= fault.times
        return over_all or (fault.times_each is not None and self.struck[reference] >= fault.times_each)


class Faults:
    """The faults in force, in the order in which they were added."""

    def __init__(self, seed: int) -> None:
        """Start with none."""
        self._seed = seed
        self._armed: list[_Armed] = []

    def add(self, faults: Iterable[Fault]) -> None:
        """Put faults in force behind those that are."""
        for fault in faults:
            self._armed.append(_Armed(fault=fault, place=len(self._armed)))

    def clear(self) -> None:
        """Let everything go well again; what was put off still happens."""
        self._armed.clear()

    def strike(self, kind: Kind, references: Sequence[str]) -> Struck:
        """What goes wrong with a call. A fault of the whole call is drawn once for the call, not once per shipment."""
        if not self._armed:
            return UNHARMED
        whole: _Armed | None = None
        single: dict[str, Hit] = {}
        for armed in self._armed:
            met = [each for each in references if armed.fault.concerns(kind, each)]
            if armed.fault.fault in PER_SHIPMENT:
                hit = [each for each in met if each not in single and armed.strikes(each, self._seed)]
                single.update({each: self._hit(armed, each) for each in hit})
            elif met and whole is None and armed.strikes(met[0], self._seed):
                whole = armed
        if whole is None:
            return Struck(single=single)
        vain = frozenset(each for each in references if whole.in_vain(each, self._seed))
        return Struck(whole=whole.fault, vain=vain, single=single)

    def _hit(self, armed: _Armed, reference: str) -> Hit:
        return Hit(fault=armed.fault, vain=armed.in_vain(reference, self._seed))
