"""The facts of shipments as orders state them, so that carriers take and refuse what they would in production."""

from typing import Any

from config.text import normal
from tasks.rules.order import Order, parse_order
from tasks.rules.order_event import OrderShipment
from worker.lab.sandbox.catalogue import Facts


class KnownOrders:
    """The facts by the reference of the shipment. Of several orders with a shipment the first counts, as at intake."""

    def __init__(self) -> None:
        """Start without any order."""
        self._facts: dict[str, Facts] = {}

    def add(self, event: bytes) -> None:
        """Add the shipments of an order-created event; any other event is passed over."""
        order = parse_order(event)
        if isinstance(order, Order):
            for shipment in order.data.shipments:
                self._facts.setdefault(shipment.reference, facts_of(shipment))

    def facts(self, reference: str) -> Facts | None:
        """What the orders say of the shipment; None if none names it."""
        return self._facts.get(reference)


def facts_of(shipment: OrderShipment) -> Facts:
    """The facts of a shipment in an order; what it does not state has the default."""
    value, destination = shipment.value, shipment.destination
    stated: dict[str, Any] = {
        "weight_kg": shipment.weight_kg,
        "country": destination and destination.country and normal(destination.country).upper(),
        "postcode": destination and destination.postcode,
        "value": value and value.amount,
        "currency": value and value.currency,
        "tags": frozenset(shipment.tags or ()),
    }
    return Facts(**{name: fact for name, fact in stated.items() if fact is not None})
