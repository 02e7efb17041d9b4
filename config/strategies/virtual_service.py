"""`{ virtual_service = "REF" }`: a reference that is either a carrier service or a service group."""

from collections.abc import Sequence
from typing import ClassVar

from config.strategies.strategy import V2, Flavour, Reference, RequestSpec, Strategy


class VirtualService(Strategy):
    """v2 only; ambiguous when the reference is both a service and a group.

    Vendor page: "Allocating with a Virtual Service".
    """

    name: ClassVar[str] = "virtual_service"
    most: ClassVar[dict[Flavour, int]] = {V2: 1}

    virtual_service: Reference
    """The vendor's reference, printable ASCII; not `.` or `..`."""

    def request(self, flavour: Flavour, references: Sequence[str], *, bulk: bool = False) -> RequestSpec:  # noqa: ARG002  # one call there is
        """`PUT /shipments/{ref}/allocate/virtual_service/{virtual}`."""
        (reference,) = references
        return RequestSpec(method="PUT", path=("shipments", reference, "allocate", self.name, self.virtual_service))
