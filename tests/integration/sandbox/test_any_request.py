"""Whatever a caller sends, the sandbox responds, and with 5xx only where the vendor's API does."""

import json
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Any, get_args
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tried
from hypothesis import strategies as st

from tests.integration.sandbox.running_sandbox import RunningSandbox, run_sandbox
from worker.lab.sandbox.fault import FaultName
from worker.lab.sandbox.options import Options

REFUSALS = {521, 531}
"""The statuses from 500 on that the API itself responds with: no service, no quote."""

NESTED = 100_000
MOST_EXAMPLES = 300

ROUTES = [
    ("PUT", "/pro/shipments/allocate"),
    ("PUT", "/shipments/allocate/service"),
    ("PUT", "/shipments/allocate/service_group"),
    ("PUT", "/shipments/allocate/filters"),
    ("PUT", "/pro/shipments/{}/allocate/virtual_service/{}"),
    ("PUT", "/pro/shipments/{}/allocate/service/{}"),
    ("PUT", "/pro/shipments/{}/allocate/service_group/{}"),
    ("PUT", "/pro/shipments/{}/allocate/quote/{}"),
    ("POST", "/shipments/{}/quote"),
    ("GET", "/shipments/{}"),
    ("GET", "/labels/{}/{}"),
    ("GET", "/labels/{}/pdf/{}"),
    ("PUT", "/allocation/allocate"),
    ("PUT", "/allocation/allocatewithcarrierservice"),
    ("PUT", "/allocation/allocateConsignmentsWithServiceFilters"),
    ("PUT", "/allocation/{}/allocatewithcheapestquote"),
    ("PUT", "/allocation/{}/allocatewithservicegroup/{}"),
    ("PUT", "/allocation/{}/allocatewithquote/{}"),
    ("GET", "/quotes/consignment/{}"),
    ("GET", "/consignments/{}"),
    ("GET", "/consignments/{}/status"),
    ("GET", "/labels/{}"),
    ("GET", "/_sandbox/health"),
    ("POST", "/_sandbox/shipments"),
    ("GET", "/_sandbox/shipments/{}?key={}"),
    ("GET", "/_sandbox/shipments%2F%7Breference%7D"),
    ("POST", "/_sandbox/faults"),
    ("DELETE", "/_sandbox/faults"),
    ("GET", "/_sandbox/counts?key={}"),
    ("GET", "/_sandbox/calls?since={}&limit={}"),
    ("GET", "/{}"),
    ("GET", "/pro"),
]
BODIES = [route for route in ROUTES if route[1].startswith("/_sandbox") or "/allocate" in route[1][-50:]]

WORDS = st.sampled_from(
    ["sp_1", "EC-1", "DNQ72", "EXPRESS", "freight", "pdf", "9" * 30, "9" * 5000, "-1", "%ff", "%2F"]
)
SEGMENTS = WORDS | st.binary(max_size=12).map(lambda raw: "".join(f"%{byte:02x}" for byte in raw))

KEYS = st.sampled_from(
    [
        *(
            "shipments",
            "carrier_service_reference",
            "service_group",
            "filters",
            "direction",
            "pickup",
            "drop_off",
            "tags",
        ),
        *("ConsignmentReferences", "MpdCarrierServiceReference", "Filters", "ServiceDirection", "IsPickup"),
        *("reference", "key", "weight_kg", "country", "state", "exists_after_s"),
        *("on", "references", "share", "times", "latency_s", "retry_after_s"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=5),
    max_leaves=12,
)
BODY = VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40)
NUMBERS = st.integers() | st.floats() | st.sampled_from([1e308, 10**30, -1, 0])
SETTINGS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "reference": WORDS,
            "fault": st.sampled_from(get_args(FaultName)),
            **dict.fromkeys(("weight_kg", "exists_after_s", "late_s", "latency_s", "retry_after_s", "times"), NUMBERS),
            **dict.fromkeys(("key", "country", "tags", "state", "references", "because_of", "body"), VALUES),
        },
    ),
    max_size=2,
).map(lambda value: json.dumps(value).encode())
REQUESTS = st.fixed_dictionaries(
    {"ConsignmentReferences": st.lists(WORDS, min_size=1, max_size=3), "shipments": st.lists(WORDS, max_size=3)},
    optional=dict.fromkeys(("filters", "Filters", "MpdCarrierServiceReference", "service_group"), VALUES),
).map(lambda value: json.dumps(value).encode())


def _xml(value: Any) -> str:
    """Elements of any content, as v1 names them."""
    match value:
        case dict():
            return "".join(f"<{name}>{_xml(inner)}</{name}>" for name, inner in value.items())
        case list():
            return "".join(f"<string>{_xml(inner)}</string>" for inner in value)
        case _:
            return str(value)


NAMED = st.recursive(
    WORDS | st.text(max_size=8).map(lambda text: text.encode("ascii", "xmlcharrefreplace").decode()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)
XML = NAMED.map(lambda value: f"<Request>{_xml(value)}</Request>".encode())

HEADER_VALUES = st.binary(max_size=10).map(lambda raw: bytes(byte for byte in raw if byte not in b"\0\r\n"))
HEADERS = st.fixed_dictionaries(
    {
        b"x-api-version": st.just(b"1.1") | HEADER_VALUES,
        b"electio-api-version": st.just(b"1.1") | HEADER_VALUES,
        b"host": st.sampled_from([b"sandbox", b"\xff"]) | HEADER_VALUES,
    },
    optional={
        b"x-api-key": st.just(b"sandbox-key") | HEADER_VALUES,
        b"ocp-apim-subscription-key": st.just(b"sandbox-key") | HEADER_VALUES,
        b"content-type": st.sampled_from([b"application/json", b"application/xml", b"text/xml; charset=utf-7"]),
        b"accept": st.sampled_from([b"application/xml", b"application/json", b"*/*"]) | HEADER_VALUES,
        b"content-encoding": st.sampled_from([b"gzip", b"deflate", b"br", b"identity", b"zip"]),
    },
)
TRUSTED = {
    b"x-api-key": b"sandbox-key",
    b"x-api-version": b"1.1",
    b"ocp-apim-subscription-key": b"sandbox-key",
    b"electio-api-version": b"1.1",
    b"host": b"sandbox",
}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    """One sandbox for all requests."""
    with run_sandbox(Options(queue_s=0.0)) as sandbox:
        yield sandbox


def status_of(
    sandbox: RunningSandbox, method: str, path: bytes, headers: dict[bytes, bytes] = TRUSTED, body: bytes = b""
) -> int:
    """The status of the response to a request that is sent as it is, without a client that corrects it.

    A body before may have been a fault: none applies.
    """
    sandbox.client.delete("/_sandbox/faults")
    lines = [b"%s: %s" % header for header in {**headers, b"content-length": b"%d" % len(body)}.items()]
    head = b"\r\n".join([b"%s %s HTTP/1.1" % (method.encode(), path), *lines, b"connection: close", b"", b""])
    url = sandbox.client.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=20) as connection:
        connection.sendall(head + body)
        response = HTTPResponse(connection, method=method)
        response.begin()
        response.read()
    return response.status


def _is_sound(status: int) -> bool:
    return status < 500 or status in REFUSALS


@pytest.mark.parametrize("headers", [TRUSTED, {b"host": b"sandbox"}], ids=["key", "no key"])
@pytest.mark.parametrize("route", ROUTES)
def test_every_route_alone(running: RunningSandbox, route: tuple[str, str], headers: dict[bytes, bytes]) -> None:
    """Each route responds without a body, with a key and without."""
    assert _is_sound(status_of(running, route[0], route[1].format("sp_1", "pdf").encode(), headers))


@tried(max_examples=MOST_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    route=st.sampled_from(ROUTES),
    method=st.sampled_from([None, None, None, "GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "FOO"]),
    segments=st.lists(SEGMENTS, min_size=2, max_size=2),
    headers=st.just(TRUSTED) | HEADERS,
    body=st.just(b"") | BODY | REQUESTS | SETTINGS | XML,
)
def test_any_request(
    running: RunningSandbox,
    *,
    route: tuple[str, str],
    method: str | None,
    segments: list[str],
    headers: dict[bytes, bytes],
    body: bytes,
) -> None:
    """No path, header or body leads to an error of the server."""
    assert _is_sound(status_of(running, method or route[0], route[1].format(*segments).encode(), headers, body))


@tried(max_examples=MOST_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    route=st.sampled_from(BODIES),
    kind=st.sampled_from([b"application/json", b"application/xml"]),
    body=BODY | REQUESTS | SETTINGS | XML,
    accept=st.sampled_from([b"*/*", b"application/xml"]),
)
def test_any_body(running: RunningSandbox, *, route: tuple[str, str], kind: bytes, accept: bytes, body: bytes) -> None:
    """No body, in JSON or XML, leads to an error of the server."""
    headers = {**TRUSTED, b"content-type": kind, b"accept": accept}
    assert _is_sound(status_of(running, route[0], route[1].format("sp_1", "EXPRESS").encode(), headers, body))


@tried(max_examples=MOST_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.binary(max_size=30), method=st.sampled_from(["GET", "PUT", "POST", "DELETE"]))
def test_any_path(running: RunningSandbox, *, path: bytes, method: str) -> None:
    """No bytes in place of a path lead to an error of the server."""
    assert _is_sound(status_of(running, method, b"/" + path.translate(None, b"\r\n ")))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"[" * NESTED),
        ("application/json", b'{"shipments":' * NESTED),
        ("application/json", b"[" * NESTED + b"]" * NESTED),
        ("application/xml", b"<a>" * NESTED),
        ("application/xml", b"<a>" * NESTED + b"</a>" * NESTED),
        ("application/xml", b'<?xml version="1.0" encoding="none"?><a/>'),
        ("application/json", b'{"shipments": ["sp_1"], "filters": {"direction": "outbound", "tags": 5}}'),
        ("application/json", b'{"ConsignmentReferences": ["\\ud800"]}'),
        ("application/json", b'{"shipments": [' + b"9" * 5000 + b"]}"),
    ],
)
@pytest.mark.parametrize("route", BODIES)
def test_bodies_that_once_were_an_error(
    running: RunningSandbox, route: tuple[str, str], kind: str, body: bytes
) -> None:
    """Endless nesting, a wrong type, and numbers or characters that Python cannot convert are refused."""
    headers = {**TRUSTED, b"content-type": kind.encode()}
    assert _is_sound(status_of(running, route[0], route[1].format("sp_1", "EXPRESS").encode(), headers, body))


@pytest.mark.parametrize(("host", "reference"), [(b"\xff", "EC-1"), (b"sandbox", "%01"), (b"sandbox", "%ed%a0%80")])
def test_xml_has_only_its_characters(running: RunningSandbox, host: bytes, reference: str) -> None:
    """An XML response stays well-formed when it repeats characters that XML does not allow."""
    headers = {b"host": host, b"accept": b"application/xml"}
    response = running.v1.put(f"/allocation/{reference}/allocatewithcheapestquote", headers=headers)
    ET.fromstring(response.content)  # noqa: S314 - our own document
