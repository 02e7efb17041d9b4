"""The carrier services and service groups of the simulated API, and which shipments they take."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Direction = Literal["outbound", "inbound"]
ExclusionCode = Literal["ex_weight", "ex_availability", "ex_rules", "ex_other"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known of a shipment. Carriers use weight, country (ISO code) and tags; a read-back shows the rest too."""

    weight_kg: float = 1.0
    country: str = "GB"
    postcode: str | None = None
    value: Decimal = Decimal("10.00")
    currency: str = "GBP"
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Service:
    """A carrier service. `net` and `gross` are in GBP; `countries` of None means everywhere.

    A service takes a tagged shipment only if it carries all its tags. Compared by identity: there is one
    object per service, and hashing it is on the way of every allocation.
    """

    reference: str
    name: str
    carrier: str
    carrier_name: str
    net: Decimal
    gross: Decimal
    delivery_days: int
    max_weight_kg: float = 30.0
    countries: frozenset[str] | None = frozenset({"GB"})
    tags: frozenset[str] = frozenset()
    pickup: bool = False
    drop_off: bool = False
    direction: Direction = "outbound"
    refuses: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Exclusion:
    """Why a service does not take a shipment."""

    service: Service
    code: ExclusionCode
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Filters:
    """The criteria of the service-filter endpoints; None matches any service."""

    direction: str
    pickup: bool | None = None
    drop_off: bool | None = None
    tags: frozenset[str] = frozenset()

    def admits(self, service: Service) -> bool:
        """Whether the service matches; a flag that is false excludes such services."""
        left_out = (self.pickup is False and service.pickup) or (self.drop_off is False and service.drop_off)
        return service.direction == self.direction.lower() and not left_out and self.tags <= service.tags


_NEXT_DAY = Service(
    reference="EXPRESS",
    name="Next Day Super",
    carrier="CARRIER_X",
    carrier_name="Carrier X",
    net=Decimal("5.50"),
    gross=Decimal("6.60"),
    delivery_days=1,
)
_WORLDWIDE = Service(
    reference="DNQ72",
    name="DNQ 72-Hour Express",
    carrier="DNQ",
    carrier_name="DNQ Worldwide",
    net=Decimal("10.00"),
    gross=Decimal("12.00"),
    delivery_days=3,
    max_weight_kg=70.0,
    countries=None,
    tags=frozenset({"fragile", "Oil"}),
)
_SIGNED = Service(
    reference="GUARDED-SIGNED",
    name="Guarded Post - Signed For",
    carrier="GUARDED",
    carrier_name="Guarded Post",
    net=Decimal("14.95"),
    gross=Decimal("17.94"),
    delivery_days=2,
    countries=frozenset({"GB", "IE"}),
    tags=frozenset({"fragile", "valuable"}),
)
_FREIGHT = Service(
    reference="HAUL-PALLET",
    name="Haul - Pallet",
    carrier="HAUL",
    carrier_name="Haul Freight",
    net=Decimal("45.00"),
    gross=Decimal("54.00"),
    delivery_days=5,
    max_weight_kg=1000.0,
    countries=frozenset({"GB", "IE"}),
)

SERVICES: dict[str, Service] = {
    service.reference: service
    for service in (
        Service(
            reference="FF_LINET-00001",
            name="Lineten - Standard On Demand",
            carrier="FF_LINET",
            carrier_name="Lineten",
            net=Decimal("2.00"),
            gross=Decimal("2.00"),
            delivery_days=4,
            max_weight_kg=25.0,
            tags=frozenset({"fragile"}),
        ),
        _NEXT_DAY,
        _WORLDWIDE,
        _SIGNED,
        _FREIGHT,
        Service(
            reference="CORNER-PICKUP",
            name="Corner Shop - Pick Up",
            carrier="CORNER",
            carrier_name="Corner Shop",
            net=Decimal("2.50"),
            gross=Decimal("3.00"),
            delivery_days=3,
            max_weight_kg=10.0,
            pickup=True,
        ),
        Service(
            reference="CORNER-DROPOFF",
            name="Corner Shop - Drop Off",
            carrier="CORNER",
            carrier_name="Corner Shop",
            net=Decimal("2.25"),
            gross=Decimal("2.70"),
            delivery_days=3,
            max_weight_kg=10.0,
            drop_off=True,
        ),
        Service(
            reference="CORNER-RETURN",
            name="Corner Shop - Return",
            carrier="CORNER",
            carrier_name="Corner Shop",
            net=Decimal("2.75"),
            gross=Decimal("3.30"),
            delivery_days=4,
            drop_off=True,
            direction="inbound",
        ),
        Service(
            reference="ALWAYS_REFUSES",
            name="Never Today",
            carrier="NEVER",
            carrier_name="Never",
            net=Decimal("1.00"),
            gross=Decimal("1.20"),
            delivery_days=1,
            refuses=True,
        ),
    )
}

GROUPS: dict[str, tuple[Service, ...]] = {
    "valuableGoods": (_WORLDWIDE, _SIGNED),
    "freight": (_FREIGHT,),
    "EXPRESS": (_NEXT_DAY, _WORLDWIDE),
    "nobody": (SERVICES["ALWAYS_REFUSES"],),
}
"""`EXPRESS` is a service too, so a virtual service of that name is ambiguous."""

OUTBOUND: tuple[Service, ...] = tuple(each for each in SERVICES.values() if each.direction == "outbound")


def selected(filters: Filters) -> tuple[Service, ...]:
    """The services that match the filters."""
    return tuple(service for service in SERVICES.values() if filters.admits(service))


def exclusion(service: Service, facts: Facts) -> Exclusion | None:
    """Why the service does not take such a shipment, or None if it does."""
    if service.refuses:
        return Exclusion(service=service, code="ex_other", reason="The carrier refuses every shipment")
    if facts.weight_kg > service.max_weight_kg:
        return Exclusion(service=service, code="ex_weight", reason="The shipment is too heavy for the service")
    if service.countries is not None and facts.country not in service.countries:
        return Exclusion(service=service, code="ex_availability", reason="The service does not go to the country")
    if not facts.tags <= service.tags:
        return Exclusion(service=service, code="ex_rules", reason="The service does not carry all of the tags")
    return None


def excluded(services: Iterable[Service], facts: Facts) -> tuple[Exclusion, ...]:
    """Every service that does not take such a shipment, with the reason."""
    found = (exclusion(service, facts) for service in services)
    return tuple(each for each in found if each is not None)


def eligible(services: Sequence[Service], facts: Facts) -> tuple[Service, ...]:
    """The services that take such a shipment, cheapest first."""
    takers = (service for service in services if exclusion(service, facts) is None)
    return tuple(sorted(takers, key=lambda service: service.gross))
