"""JSON Schemas of everything that comes in and goes out, and the AsyncAPI document of the four streams."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from config.merchants import MerchantFile
from config.settings import Settings
from tasks.order import OrderEvent
from tasks.out_events import OrdersRejected, ShipmentAllocated, ShipmentAllocationFailed

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

MODELS: Mapping[str, type[BaseModel]] = {
    "order-created": OrderEvent,
    "shipment-allocated": ShipmentAllocated,
    "shipment-allocation-failed": ShipmentAllocationFailed,
    "orders-rejected": OrdersRejected,
    "merchant-file": MerchantFile,
}

NAMES = (*MODELS, "asyncapi")

_CHANNELS = {
    "order-created": ("orders_stream", "receive", "Orders that were created; read by the consumer group `allocation`."),
    "shipment-allocated": ("allocated_stream", "send", "Shipments that were allocated."),
    "shipment-allocation-failed": ("failed_stream", "send", "Shipments that will not be allocated."),
    "orders-rejected": ("rejected_stream", "send", "Events of the orders stream that could not be taken."),
}


def schema(name: str) -> dict[str, Any]:
    """One of `NAMES` as a JSON document."""
    if name == "asyncapi":
        return asyncapi()
    return {"$schema": _DIALECT, **_mended(MODELS[name].model_json_schema())}


def _mended(document: dict[str, Any]) -> dict[str, Any]:
    """Say of a reference what its validator knows and pydantic cannot read out of it."""
    definitions = document.get("$defs", {})
    if "OrderData" in definitions:
        definitions["Shipment"]["properties"]["reference"]["not"] = {"enum": [".", ".."]}
    return document


def asyncapi() -> dict[str, Any]:
    """An AsyncAPI 3.0 document of the four streams, under the names that they have by default."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Allocation worker",
            "version": "1.0.0",
            "description": "Allocates the shipments of created orders to carrier services. Every channel is a Redis "
            "stream; a CloudEvents 1.0 event is JSON text in the one field `event` of its entry.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(name) for name in _CHANNELS},
        "operations": {name: _operation(name) for name in _CHANNELS},
        "components": {"messages": {name: _message(name) for name in _CHANNELS}, "schemas": _schemas()},
    }


def _channel(name: str) -> dict[str, Any]:
    setting, _, description = _CHANNELS[name]
    address = Settings.model_fields[setting].default
    return {"address": address, "description": description, "messages": {name: _ref("messages", name)}}


def _operation(name: str) -> dict[str, Any]:
    return {"action": _CHANNELS[name][1], "channel": {"$ref": f"#/channels/{name}"}}


def _message(name: str) -> dict[str, Any]:
    return {"name": name, "contentType": "application/json", "payload": _ref("schemas", MODELS[name].__name__)}


def _ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _schemas() -> dict[str, Any]:
    mode: JsonSchemaMode = "validation"
    models = [(MODELS[name], mode) for name in _CHANNELS]
    _, document = models_json_schema(models, ref_template="#/components/schemas/{model}")
    definitions: dict[str, Any] = _mended(document)["$defs"]
    return definitions
