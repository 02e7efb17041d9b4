"""Order-created events for the tests."""

import json
from typing import Any

from tasks.rules.order import Order, Rejection, parse_order


def shipment(**facts: Any) -> dict[str, Any]:
    """A shipment of an event, with these facts."""
    return {"reference": "sp_1", **facts}


def event(*shipments: dict[str, Any], **data: Any) -> dict[str, Any]:
    """An order-created event with these shipments (or a minimal one) and these keys in `data`."""
    return {
        "specversion": "1.0",
        "id": "evt-1",
        "source": "urn:shop:acme",
        "type": "order.created",
        "data": {"merchant": "acme", "order": "1001", "shipments": list(shipments or [shipment()]), **data},
    }


def without(table: dict[str, Any], key: str) -> dict[str, Any]:
    """The table without one key."""
    return {name: value for name, value in table.items() if name != key}


def read(table: Any) -> Any:
    """The result of parsing an event."""
    return parse_order(json.dumps(table).encode())


def order(*shipments: dict[str, Any], **data: Any) -> Order:
    """A valid order."""
    found = read(event(*shipments, **data))
    assert isinstance(found, Order)
    return found


def reason(table: Any) -> str | None:
    """The reason of the rejection, or None when the event is accepted."""
    found = read(table)
    return found.reason if isinstance(found, Rejection) else None
