"""JSON Schemas of everything that comes in and goes out, and the AsyncAPI document of the four streams."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from config.merchant_files.merchant_file import MerchantFile
from config.settings import Settings
from config.strategies.catalogue import STRATEGIES
from config.strategies.strategy import V1, Flavour
from tasks.events.orders_rejected import OrdersRejected
from tasks.events.shipment_allocated import ShipmentAllocated
from tasks.events.shipment_allocation_failed import ShipmentAllocationFailed
from tasks.rules.order_event import OrderEvent

_CLOUDEVENT = "application/cloudevents+json"
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
    "orders-rejected": ("rejected_stream", "send", "Rejected events of the orders stream."),
}


def schema(name: str) -> dict[str, Any]:
    """One of `NAMES` as a JSON document."""
    if name == "asyncapi":
        return asyncapi()
    return {"$schema": _DIALECT, **_completed(MODELS[name].model_json_schema())}


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    """Add what the validators check and pydantic does not see."""
    definitions = document.get("$defs", {})
    if "OrderData" in definitions:
        definitions["Value"]["properties"]["amount"]["anyOf"] = [*_AMOUNTS, {"type": "null"}]
    if document.get("title") == MerchantFile.__name__:
        document["allOf"] = [_of_flavour(flavour) for flavour in get_args(Flavour)]
    return document


_AMOUNTS = (
    {"type": "number", "minimum": 0},
    {"type": "string", "pattern": r"^\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"},
)


def _of_flavour(flavour: Flavour) -> dict[str, Any]:
    """What a merchant of this flavour cannot write."""
    missing: dict[str, Any] = {each.name: False for each in STRATEGIES if flavour not in each.most}
    if flavour == V1:
        missing["filters"] = {"properties": {"tags": {"maxItems": 0}}}
    step = {"properties": missing}
    choice = {"properties": {"strategy": step, "fallback": {"items": step}}}
    api = {"bulk": {"const": False}} if flavour == V1 else {"format": {"const": "json"}}
    is_of_it = {"properties": {"api": {"properties": {"flavour": {"const": flavour}}, "required": ["flavour"]}}}
    then = {"api": {"properties": api}, "allocation": choice, "rules": {"items": choice}}
    return {"if": {**is_of_it, "required": ["api"]}, "then": {"properties": then}}


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
        "defaultContentType": _CLOUDEVENT,
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
    # A rejected entry is fields, of which the event is one.
    content = "application/json" if name == "orders-rejected" else _CLOUDEVENT
    return {"name": name, "contentType": content, "payload": _ref("schemas", MODELS[name].__name__)}


def _ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _schemas() -> dict[str, Any]:
    mode: JsonSchemaMode = "validation"
    models = [(MODELS[name], mode) for name in _CHANNELS]
    _, document = models_json_schema(models, ref_template="#/components/schemas/{model}")
    definitions: dict[str, Any] = _completed(document)["$defs"]
    return definitions
