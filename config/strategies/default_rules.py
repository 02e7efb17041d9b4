"""`{ default_rules = true }`: the merchant's own allocation rules inside PRO choose."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from config.strategies.strategy import V1, V2, Flavour, RequestSpec, Strategy


class DefaultRules(Strategy):
    """Many shipments per call in both flavours: v2 queues them, v1 responds at once."""

    name: ClassVar[str] = "default_rules"
    most: ClassVar[dict[Flavour, int]] = {V2: 100, V1: 100}

    default_rules: Literal[True]
    """The merchant's rules at the vendor decide."""

    def request(self, flavour: Flavour, references: Sequence[str], *, bulk: bool = False) -> RequestSpec:  # noqa: ARG002  # always bulk
        """`PUT /shipments/allocate` or `PUT /allocation/allocate`."""
        if flavour == V1:
            body = {"ConsignmentReferences": list(references)}
            return RequestSpec(
                method="PUT", path=("allocation", "allocate"), body=body, root="AllocateConsignmentsRequest"
            )
        return RequestSpec(method="PUT", path=("shipments", "allocate"), body={"shipments": list(references)})
