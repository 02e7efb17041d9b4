"""`{ filters = { direction = "outbound", drop_off = true } }`: the cheapest service that matches the filters."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from config.strategies.strategy import V1, V2, Flavour, Reference, RequestSpec, Strategy


class ServiceFilters(BaseModel):
    """Requirements for a service; an omitted flag does not filter. At most ten tags, all of which must match."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    direction: Literal["outbound", "inbound"]
    """The direction of the shipment."""
    pickup: bool | None = None
    """Whether the carrier collects the shipment; omitted: either."""
    drop_off: bool | None = None
    """Whether the shipment is dropped off; omitted: either."""
    # A TOML or JSON array is a list, which strict mode does not accept as a tuple.
    tags: Annotated[tuple[Reference, ...], Field(max_length=10, strict=False)] = ()
    """The service must have all of these tags; v2 only."""

    def as_table(self) -> dict[str, Any]:
        """The given filters, in v2's form."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def as_v1(self) -> dict[str, Any]:
        """The given filters, in v1's form, which has no tags."""
        flags = {"IsPickup": self.pickup, "IsDropOff": self.drop_off}
        given = {name: flag for name, flag in flags.items() if flag is not None}
        return {"ServiceDirection": self.direction.capitalize(), **given}


class Filters(Strategy):
    """Many shipments per call in both flavours: v2 queues them, v1 responds at once."""

    name: ClassVar[str] = "filters"
    most: ClassVar[dict[Flavour, int]] = {V2: 100, V1: 100}

    filters: ServiceFilters
    """Requirements for the service; the vendor chooses the cheapest match."""

    def unsupported_reason(self, flavour: Flavour) -> str | None:
        """As for every strategy, and v1 has no tags."""
        if flavour == V1 and self.filters.tags:
            return f"filters has no tags in {V1}"
        return super().unsupported_reason(flavour)

    def request(self, flavour: Flavour, references: Sequence[str], *, bulk: bool = False) -> RequestSpec:  # noqa: ARG002  # always bulk
        """`PUT /shipments/allocate/filters` or `PUT /allocation/allocateConsignmentsWithServiceFilters`."""
        if flavour == V1:
            return RequestSpec(
                method="PUT",
                path=("allocation", "allocateConsignmentsWithServiceFilters"),
                body={"ConsignmentReferences": list(references), "Filters": self.filters.as_v1()},
                root="AllocateConsignmentsWithServiceFiltersRequest",
            )
        body = {"shipments": list(references), "filters": self.filters.as_table()}
        return RequestSpec(method="PUT", path=("shipments", "allocate", "filters"), body=body)
