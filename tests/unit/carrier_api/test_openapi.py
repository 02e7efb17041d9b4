"""Every v2 request is valid by the vendor's OpenAPI document; bodies have the shape of the vendor's examples."""

import json
import re
from itertools import product
from typing import Any

import jsonschema
import pytest

from config.strategies.quote import quotes_request, request_with_quote
from config.strategies.strategy import V1, V2, RequestSpec
from tests.factories.vendor_documents import example, needs_vendor, openapi
from tests.unit.carrier_api.responses import ALL, DEFAULT, EC, OTHER, REF, SERVICE
from worker.carrier_api.dialect import dialect_for, target
from worker.carrier_api.states import allocation_state

pytestmark = needs_vendor

WIRE = dialect_for(V2)
CALLS = [
    *(s.request(V2, [REF, OTHER][: s.per_call(V2, bulk=bulk)], bulk=bulk) for s, bulk in product(ALL, (False, True))),
    request_with_quote(V2, REF, "qu_00662089901143042926175691997184"),
    quotes_request(V2, REF),
    WIRE.read_back_request(REF),
]


def _operation(document: Any, call: RequestSpec) -> Any:
    """The operation of the document for a request; a literal path takes precedence over a template."""
    paths = sorted(document["paths"], key=lambda path: path.count("{"))
    matches = (path for path in paths if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), target(call)))
    return document["paths"][next(matches)][call.method.lower()]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {'/'.join(call.path)}")
def test_request_is_valid(call: RequestSpec) -> None:
    """Path, method, required headers and body are those of the document."""
    document = openapi("shipments-v2.json")
    operation = _operation(document, call)
    headers = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "header"}
    assert headers <= WIRE.headers("k").keys()
    body = WIRE.encode(call)
    assert (body is None) == ("requestBody" not in operation)
    if body is not None:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.Draft4Validator({**schema, "components": document["components"]}).validate(json.loads(body))


def test_key_header_is_the_documented_one() -> None:
    """The key is in the header that the document's security scheme names."""
    scheme = openapi("shipments-v2.json")["components"]["securitySchemes"]["API Key"]
    assert WIRE.headers("secret")[scheme["name"]] == "secret"


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("v2-carrier-service-2.json", SERVICE.request(V2, ["sp_00794372987452683804666199932928"], bulk=True)),
        ("v1-carrier-service-1.json", SERVICE.request(V1, [EC])),
        ("v1-default-rules-1.json", DEFAULT.request(V1, [EC])),
    ],
)
def test_body_has_the_shape_of_the_example(name: str, call: RequestSpec) -> None:
    """A body has exactly the keys of the vendor's example."""
    assert call.body is not None
    assert call.body.keys() == json.loads(example(name)).keys()


def test_every_state_has_a_meaning() -> None:
    """Every state of the document is known, and all but six of them are an allocation."""
    states = openapi("shipments-v2.json")["components"]["schemas"]["ShipmentState"]["enum"]
    others = {"unallocated", "allocating", "allocation_failed", "cancelling", "cancelled", "destroyed"}
    assert {state for state in states if allocation_state(state) != "allocated"} == others
    assert all(allocation_state(state) for state in others)
