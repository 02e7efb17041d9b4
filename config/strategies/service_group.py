"""`{ service_group = "REF" }`: the best service within a group, by the group's reference."""

from collections.abc import Sequence
from typing import ClassVar

from config.strategies.strategy import V1, V2, Flavour, Reference, RequestSpec, Strategy


class ServiceGroup(Strategy):
    """One shipment a call in both flavours; v2 queues up to 100 with `bulk`."""

    name: ClassVar[str] = "service_group"
    most: ClassVar[dict[Flavour, int]] = {V2: 1, V1: 1}
    most_bulk: ClassVar[dict[Flavour, int]] = {V2: 100}

    service_group: Reference
    """The vendor's reference, printable ASCII; not `.` or `..`."""

    def request(self, flavour: Flavour, references: Sequence[str], *, bulk: bool = False) -> RequestSpec:
        """The single endpoint of the flavour, or v2's "many" endpoint with `bulk`."""
        if flavour == V2 and bulk:
            many = {"shipments": list(references), "service_group": self.service_group}
            return RequestSpec(method="PUT", path=("shipments", "allocate", "service_group"), body=many)
        (reference,) = references
        if flavour == V1:
            return RequestSpec(
                method="PUT", path=("allocation", reference, "allocatewithservicegroup", self.service_group)
            )
        return RequestSpec(method="PUT", path=("shipments", reference, "allocate", "service_group", self.service_group))
