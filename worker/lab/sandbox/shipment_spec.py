"""A shipment as `POST /_sandbox/shipments` accepts it."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from worker.lab.sandbox.catalogue import OUTBOUND, Facts, eligible
from worker.lab.sandbox.fault import Seconds
from worker.lab.sandbox.state import Allocation, SimulatedShipment, State

_HAVE_A_SERVICE = frozenset[State]({"allocated", "manifested", "dispatched", "delivered"})


class Described(BaseModel):
    """One shipment; docs/sandbox.md documents every key."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    reference: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    key: str | None = None
    weight_kg: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = "GB"
    tags: frozenset[str] = frozenset()
    state: State = "unallocated"
    exists_after_s: Seconds = 0.0

    def as_shipment(self, first_key: str, now: float) -> SimulatedShipment:
        """The described shipment; without a key it belongs to the first one."""
        facts = Facts(weight_kg=self.weight_kg, country=self.country, tags=self.tags)
        shipment = SimulatedShipment(
            key=self.key or first_key,
            reference=self.reference,
            created=now,
            facts=facts,
            state=self.state,
            exists_at=now + self.exists_after_s,
        )
        takers = eligible(OUTBOUND, facts)
        if self.state in _HAVE_A_SERVICE and takers:
            shipment.allocation = Allocation(service=takers[0], at=now, tracking=f"TRK-{self.reference}")
        return shipment
