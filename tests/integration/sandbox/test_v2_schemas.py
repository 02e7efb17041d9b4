"""v2's responses against the vendor's OpenAPI document."""

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from tests.integration.sandbox.running_sandbox import RunningSandbox, shipment_reference

DOCUMENT = Path(__file__).parents[4] / "shared" / "pro-api" / "openapi" / "shipments-v2.json"
LINETEN = "FF_LINET-00001"

pytestmark = [
    pytest.mark.vendor,
    pytest.mark.skipif(not DOCUMENT.exists(), reason="needs the vendor's documents, not part of this repository"),
]


def _json_schema(node: Any) -> Any:
    """OpenAPI 3.0 as JSON Schema: `nullable` values may also be null."""
    if isinstance(node, list):
        return [_json_schema(each) for each in node]
    if not isinstance(node, dict):
        return node
    schema = {name: _json_schema(each) for name, each in node.items() if name != "nullable"}
    return {"anyOf": [schema, {"type": "null"}]} if node.get("nullable") is True else schema


@pytest.fixture(scope="module")
def components() -> Any:
    """The document's schemas."""
    return _json_schema(json.loads(DOCUMENT.read_text())["components"])


def _check(components: Any, name: str, response: httpx.Response, status: int) -> None:
    assert response.status_code == status
    schema = {"$ref": f"#/components/schemas/{name}", "components": components}
    jsonschema.validate(response.json(), schema, format_checker=jsonschema.FormatChecker())


def test_allocate_results_are_valid(sandbox: RunningSandbox, components: Any) -> None:
    """An AllocateResult is valid for a service, within a group with exclusions, and when it is queued."""
    heavy, queued = shipment_reference(), shipment_reference()
    sandbox.create({"reference": heavy, "weight_kg": 50})
    sandbox.set_faults({"fault": "queued", "references": [queued]})
    _check(components, "AllocateResult", sandbox.put(shipment_reference(), "service", LINETEN), 200)
    _check(components, "AllocateResult", sandbox.put(heavy, "service_group", "valuableGoods"), 200)
    _check(components, "AllocateResult", sandbox.put(queued, "service", LINETEN), 202)


def test_shipments_are_valid(sandbox: RunningSandbox, components: Any) -> None:
    """A Shipment is valid before and after its allocation and after its label was fetched."""
    reference = shipment_reference()
    _check(components, "Shipment", sandbox.client.get(f"/pro/shipments/{reference}"), 200)
    sandbox.put(reference, "service", "DNQ72")
    _check(components, "Shipment", sandbox.client.get(f"/pro/shipments/{reference}"), 200)
    _check(components, "Document", sandbox.client.get(f"/pro/labels/{reference}/pdf/203"), 200)
    _check(components, "Shipment", sandbox.client.get(f"/pro/shipments/{reference}"), 200)


def test_quote_results_are_valid(sandbox: RunningSandbox, components: Any) -> None:
    """A QuoteResult is valid, and so is the allocation with one of its quotes."""
    reference = shipment_reference()
    response = sandbox.client.post(f"/pro/shipments/{reference}/quote")
    _check(components, "QuoteResult", response, 201)
    quote = response.json()["quotes"][-1]["reference"]
    _check(components, "AllocateResult", sandbox.put(reference, "quote", quote), 200)


def test_filter_results_are_valid(sandbox: RunningSandbox, components: Any) -> None:
    """An AllocateWithFiltersResult is valid."""
    body = {"shipments": [shipment_reference()], "filters": {"direction": "outbound"}}
    _check(components, "AllocateWithFiltersResult", sandbox.client.put("/shipments/allocate/filters", json=body), 202)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (("virtual_service", "EXPRESS"), 400),
        (("virtual_service", "nothing"), 404),
        (("service", "ALWAYS_REFUSES"), 521),
        (("service_group", "nobody"), 521),
    ],
)
def test_errors_are_valid(sandbox: RunningSandbox, components: Any, path: tuple[str, str], status: int) -> None:
    """An ApiError is valid, with and without details."""
    _check(components, "ApiError", sandbox.put(shipment_reference(), *path), status)


def test_errors_of_faults_are_valid(sandbox: RunningSandbox, components: Any) -> None:
    """Errors that simulate a broken API are ApiErrors too, and so is a 531."""
    broken, heavy = shipment_reference(), shipment_reference()
    sandbox.create({"reference": heavy, "weight_kg": 5000})
    for status, fault in [(500, "status"), (401, "unauthorised"), (403, "forbidden"), (410, "gone"), (429, "conflict")]:
        sandbox.set_faults({"fault": fault, "references": [broken], "times": 1})
        _check(components, "ApiError", sandbox.put(broken, "service", LINETEN), status)
    _check(components, "ApiError", sandbox.client.post(f"/pro/shipments/{heavy}/quote"), 531)
