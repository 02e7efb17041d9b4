"""Faults: the choice of what goes wrong with a call. Nothing here touches a connection."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["allocate", "read", "quote", "label"]
"""What an endpoint does."""

FaultName = Literal[
    "slow",
    "status",
    "throttled",
    "conflict",
    "unauthorised",
    "forbidden",
    "gone",
    "drop",
    "cut",
    "hang",
    "garbage",
    "queued",
    "stuck",
    "omit",
]

_PER_SHIPMENT: frozenset[FaultName] = frozenset({"queued", "stuck", "omit"})
_WIDTH = 8
_RANGE = float(1 << (8 * _WIDTH))


class Fault(BaseModel):
    """One fault as `POST /_sandbox/faults` takes it; `worker.sandbox.control` documents every key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fault: FaultName
    on: Literal["allocate", "read", "quote", "any"] = "any"
    references: frozenset[str] | None = None
    share: Annotated[float, Field(ge=0, le=1)] = 1.0
    times: Annotated[int, Field(ge=1)] | None = None
    times_each: Annotated[int, Field(ge=1)] | None = None
    acts: bool = False
    latency_s: Annotated[float, Field(ge=0)] = 0.0
    status: Literal[500, 502, 503, 504] = 500
    retry_after_s: Annotated[int, Field(ge=0)] | None = None
    body: Literal["html", "shape", "empty"] = "html"

    def concerns(self, kind: Kind, reference: str) -> bool:
        """Whether a call of this kind for this shipment may meet the fault."""
        return self.on in {"any", kind} and (self.references is None or reference in self.references)


@dataclass(frozen=True, kw_only=True, slots=True)
class Struck:
    """What goes wrong with one call: with the whole of it, and with single shipments in it."""

    whole: Fault | None = None
    single: dict[str, Fault] = field(default_factory=dict)

    def name_for(self, reference: str) -> FaultName | None:
        """The fault that this shipment meets in the call."""
        fault = self.whole or self.single.get(reference)
        return fault.fault if fault else None


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
    total: int = 0

    def strikes(self, reference: str, seed: int) -> bool:
        """Whether the fault strikes this shipment now; counts the meeting."""
        self.met[reference] += 1
        if self._spent(reference) or draw(seed, self.place, reference, self.met[reference]) >= self.fault.share:
            return False
        self.total += 1
        self.struck[reference] += 1
        return True

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
        """Let everything go well again."""
        self._armed.clear()

    def strike(self, kind: Kind, references: Sequence[str]) -> Struck:
        """What goes wrong with a call. A fault of the whole call is drawn once for the call, not once per shipment."""
        if not self._armed:
            return UNHARMED
        whole: Fault | None = None
        single: dict[str, Fault] = {}
        for armed in self._armed:
            met = [each for each in references if armed.fault.concerns(kind, each)]
            if armed.fault.fault in _PER_SHIPMENT:
                hit = [each for each in met if each not in single and armed.strikes(each, self._seed)]
                single.update(dict.fromkeys(hit, armed.fault))
            elif met and whole is None and armed.strikes(met[0], self._seed):
                whole = armed.fault
        return Struck(whole=whole, single=single)
