"""What a scene of the demo is: an order, faults, and the expected result."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tasks.rules.order import RejectReason
from tasks.rules.order_event import ORDER_CREATED


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """One shipment as shop and carriers describe it; weight in kilograms."""

    reference: str
    weight_kg: float = 1.2
    country: str = "GB"

    def as_ordered(self) -> dict[str, Any]:
        """The shipment in the shop's event."""
        return {
            "reference": self.reference,
            "weight_kg": self.weight_kg,
            "destination": {"country": self.country},
        }

    def as_described(self) -> dict[str, Any]:
        """The shipment as described to the simulated API."""
        return {"reference": self.reference, "weight_kg": self.weight_kg, "country": self.country}


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """An order of a shop."""

    merchant: str
    number: str
    parcels: tuple[Parcel, ...]
    shipping_method: str = "standard"

    def as_event(self) -> str:
        """The order-created event, whole."""
        data = {
            "merchant": self.merchant,
            "order": self.number,
            "shipments": [parcel.as_ordered() for parcel in self.parcels],
            "shipping_method": self.shipping_method,
        }
        envelope = {"specversion": "1.0", "id": f"evt-{self.number}", "source": f"urn:shop:{self.merchant}"}
        return json.dumps({**envelope, "type": ORDER_CREATED, "data": data})


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """The expected result of every shipment of an order.

    `path`: outcomes in this order, possibly among others. `service`: its carrier service, `reason`: why it fails,
    `adopted`: whether a read-back found it allocated.
    """

    path: tuple[str, ...] = ("allocated",)
    state: Literal["allocated", "failed"] = "allocated"
    rule: str = "default"
    service: str | None = None
    reason: str | None = None
    adopted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One scene. `before` says what will happen, `after` what happened.

    `event`: the text of the published event, by default that of `order`. `faults`: faults of the simulated API.
    `without_call`: the API gets no call at all, which its own count shows.
    """

    title: str
    before: str
    after: str
    order: Order | None = None
    text: str = ""
    faults: tuple[Mapping[str, Any], ...] = ()
    ending: Ending = Ending()
    rejected: RejectReason | None = None
    without_call: bool = False

    @property
    def event(self) -> str:
        """The event to publish."""
        return self.order.as_event() if self.order else self.text

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Merchant and reference of every shipment."""
        if self.order is None:
            return ()
        return tuple((self.order.merchant, parcel.reference) for parcel in self.order.parcels)
