"""`{ carrier_service = "REF" }`: one carrier service, by its reference."""

from collections.abc import Sequence
from typing import ClassVar

from config.strategies.strategy import V1, V2, Flavour, Reference, RequestSpec, Strategy


class CarrierService(Strategy):
    """v2: one shipment per call, or up to 100 queued with `bulk`; v1: many per call, with an immediate response."""

    name: ClassVar[str] = "carrier_service"
    most: ClassVar[dict[Flavour, int]] = {V2: 1, V1: 100}
    most_bulk: ClassVar[dict[Flavour, int]] = {V2: 100}

    carrier_service: Reference
    """The vendor's reference, printable ASCII; not `.` or `..`."""

    def request(self, flavour: Flavour, references: Sequence[str], *, bulk: bool = False) -> RequestSpec:
        """The single or the "many" endpoint of the flavour."""
        if flavour == V1:
            # In XML the order of elements matters: the references come first.
            body = {"ConsignmentReferences": list(references), "MpdCarrierServiceReference": self.carrier_service}
            return RequestSpec(
                method="PUT",
                path=("allocation", "allocatewithcarrierservice"),
                body=body,
                root="AllocateConsignmentsWithCarrierServiceRequest",
            )
        if bulk:
            many = {"shipments": list(references), "carrier_service_reference": self.carrier_service}
            return RequestSpec(method="PUT", path=("shipments", "allocate", "service"), body=many)
        (reference,) = references
        return RequestSpec(method="PUT", path=("shipments", reference, "allocate", "service", self.carrier_service))
