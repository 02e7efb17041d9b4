"""A key repeated in a response, in any encoding, is in no outcome."""

import base64
import gzip
import html
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tasks.rules.outcome import Allocated
from tests.factories.raw_api import (
    REFERENCE,
    account,
    allocate,
    listening,
    open_client,
    request,
    responds_with,
    response,
)

KEY = "Key/7f3a+Q1&zz9=B92xLm"

FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda key: json.dumps(key)[1:-1],
    "JSON": lambda key: "".join(f"\\u{ord(letter):04x}" for letter in key),
    "slashes": lambda key: key.replace("/", "\\/"),
    "URL": lambda key: quote(key, safe=""),
    "URL in lower case": lambda key: "".join(f"%{ord(letter):02x}" for letter in key),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of more": lambda key: base64.urlsafe_b64encode(f"user:{key}:".encode()).decode(),
    "HTML": html.escape,
}

V2 = {
    "a rejected shipment": (207, '{"rejected": [{"references": ["sp_1"], "message": "K", "code": "K"}]}'),
    "a state": (200, '{"state": "K", "shipment_reference": "sp_1"}'),
    "another shipment": (200, '{"state": "allocated", "reference": "K", "shipment_reference": "K"}'),
    "an error": (400, '{"code": "K", "message": "K", "correlation_id": "K", "details": [{"message": "K"}]}'),
    "no key": (401, '{"code": "K", "message": "bad key K"}'),
    "a server error": (500, '{"message": "K"}'),
    "a name": (200, '{"state": "allocated", "carrier": {"name": "K", "reference": "K", "service_reference": "K"}}'),
    "a price": (200, '{"state": "allocated", "price": {"net": "K", "gross": "K", "currency": "K"}}'),
    "a link": (200, '{"state": "allocated", "_links": [{"href": "https://h/K/pdf", "rel": "label"}]}'),
    "a tracking reference": (
        200,
        '{"state": "allocated", "tracking_details": {"contents": [{"tracking_references": ["K"]}]}}',
    ),
    "an id": (200, '{"state": "allocated", "correlation_id": "K"}'),
    "rubbish": (200, "K"),
    "a page": (502, "<html>K</html>"),
}

V1 = {
    "a failure": (200, '[{"IsSuccess": false, "Message": "K"}]'),
    "an error": (400, '{"Message": "K"}'),
    "a description": (429, '{"Description": "K"}'),
    "a state": (200, '{"Reference": "sp_1", "ConsignmentState": "K"}'),
    "another": (200, '[{"IsSuccess": true, "Data": "K"}]'),
    "a leg": (200, '[{"IsSuccess": true, "ConsignmentLegs": [{"CarrierName": "K", "TrackingReferences": ["K"]}]}]'),
    "a link": (200, '[{"IsSuccess": true, "ApiLinks": [{"Rel": "label", "Href": "https://h/K"}]}]'),
}

V1_XML = {
    "a failure": (200, "<AllocationSummary><IsSuccess>false</IsSuccess><Message>K</Message></AllocationSummary>"),
    "a state": (200, "<Consignment><Reference>sp_1</Reference><Status>K</Status></Consignment>"),
    "an error": (400, "<Error><Message>K</Message></Error>"),
    "broken": (200, "<K>&K;"),
}

FLAVOURS: dict[str, tuple[dict[str, tuple[int, str]], dict[str, Any]]] = {
    "v2": (V2, {"flavour": "shipments-v2"}),
    "v1": (V1, {"flavour": "consignments-v1"}),
    "v1 in XML": (V1_XML, {"flavour": "consignments-v1", "format": "xml"}),
}


def _readings(key: str) -> list[str]:
    return [*(form(key) for form in FORMS.values()), key]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_the_key_is_removed(flavour: str, form: str) -> None:
    """The outcome of a call or a read-back contains no part of the key, wherever it was in the response."""
    places, api = FLAVOURS[flavour]
    for place, (status, body) in places.items():
        found = await _outcomes(response(status, body.replace("K", FORMS[form](KEY)).encode()), api)
        assert not [reading for reading in _readings(KEY) if reading in found], place


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize(
    "response_bytes",
    [
        response(404, b"<html>", f"content-type: {KEY}"),
        response(500, b"", f"content-type: text/{quote(KEY, safe='')}"),
        response(200, b"{", f"content-encoding: {KEY}", f"content-type: text/plain; charset={KEY}"),
        response(200, gzip.compress(f'{{"state": "{KEY}"}}'.encode()), "content-encoding: gzip"),
        response(200, f'{{"state": "{KEY}"}}'.encode("utf-16"), "content-type: application/json; charset=utf-16"),
        f"HTTP/1.1 200 {KEY}\r\ncontent-length: {KEY}\r\n\r\n".encode(),
        f"{KEY} 200\r\n\r\n".encode(),
    ],
)
async def test_the_key_in_a_head_or_a_compressed_body(response_bytes: bytes, flavour: str) -> None:
    """Nor does it after a response with the key in its head, or compressed."""
    found = await _outcomes(response_bytes, FLAVOURS[flavour][1])
    assert not [reading for reading in _readings(KEY) if reading in found]


async def test_a_reference_with_the_key_is_null() -> None:
    """A value that contains the key is omitted; the allocation counts."""
    body = {"state": "allocated", "carrier": {"reference": f"A-{KEY}", "name": f"by {KEY}"}}
    async with listening(responds_with(response(200, json.dumps(body).encode()))) as api, open_client() as client:
        outcome = await allocate(client, account(api.url, key=KEY))
    assert isinstance(outcome, Allocated)
    assert outcome.carrier is not None
    assert (outcome.carrier.reference, outcome.carrier.name) == (None, "by [key]")


async def _outcomes(response_bytes: bytes, api: dict[str, Any]) -> str:
    strategy = {"carrier_service": "X"}
    async with listening(responds_with(response_bytes)) as raw, open_client() as client:
        merchant = account(raw.url, strategy, key=KEY, **api)
        return repr([await allocate(client, merchant, REFERENCE), await client.read_back(merchant, request())])
