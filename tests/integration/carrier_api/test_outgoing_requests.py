"""Outgoing requests: the intended path, the key and the version, and nothing else about this client."""

import asyncio
import json
import re
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tried
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.rules.outcome import Allocated, NotSent, Quoted, Stopped
from tests.factories.raw_api import (
    KEY,
    REFERENCE,
    Request,
    account,
    allocate,
    allocated,
    listening,
    open_client,
    request,
    responds_with,
    response,
)

ODD = ["...", "-", "_", "a..b", ".a", "a.", "A" * 64, "0", "--", "._-"]
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)


async def path_of(reference: str, service: str = "X") -> str:
    """The path of a shipment's request on the wire."""
    async with listening() as api, open_client() as client:
        await allocate(client, account(api.url, {"virtual_service": service}), reference)
        return api.requests[0].target


@pytest.mark.parametrize("reference", ODD)
async def test_unusual_references_are_unchanged(reference: str) -> None:
    """Every reference that an event may contain is in the path unchanged."""
    assert await path_of(reference) == f"/pro/shipments/{reference}/allocate/virtual_service/X"


@tried(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    reference=st.from_regex(re.compile(r"[A-Za-z0-9._-]{1,64}"), fullmatch=True).filter(lambda r: r not in (".", ".."))
)
def test_every_reference_is_unchanged(runner: asyncio.Runner, reference: str) -> None:
    """So is every combination of the allowed characters."""
    assert runner.run(path_of(reference)) == f"/pro/shipments/{reference}/allocate/virtual_service/X"


@pytest.mark.parametrize("service", ["a/b", "a?b", "a#b", "a%2Fb", "a%b", "../x", "a/../../b", "a b", "a;b=c"])
async def test_services_are_escaped(service: str) -> None:
    """A service's name from a merchant file is one segment of the path, whatever its characters."""
    path = await path_of(REFERENCE, service)
    assert path.startswith(f"/pro/shipments/{REFERENCE}/allocate/virtual_service/")
    last = path.rpartition("/")[2]
    assert unquote(last) == service
    assert not set(last) & set("?#/ ")


@tried(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(service=PRINTABLE)
def test_every_service_is_escaped_or_refused(runner: asyncio.Runner, service: str) -> None:
    """No name in a merchant file leads to another path: it is escaped, or the file is refused."""
    try:
        path = runner.run(path_of(REFERENCE, service))
    except ValidationError:
        assert not service.strip() or service in (".", "..")
        return
    head, _, last = path.rpartition("/")
    assert head == f"/pro/shipments/{REFERENCE}/allocate/virtual_service"
    assert unquote(last) == service


@pytest.mark.parametrize("offered", [".", "..", "a/b", "../../x?y#z"])
async def test_quotes_with_unusual_names(offered: str) -> None:
    """A quote whose name would lead to another path is not called for, and nothing is raised."""

    async def offers(called: Request, writer: asyncio.StreamWriter) -> None:
        if called.target.endswith("/quote"):
            writer.write(response(200, json.dumps({"quotes": [{"reference": offered}]}).encode()))
        else:
            writer.write(response(200, allocated()))

    async with listening(offers) as api, open_client() as client:
        merchant_account = account(api.url, {"quote": "cheapest"})
        strategy = merchant_account.merchant.file.allocation.strategy
        quoted = await client.quote(merchant_account, strategy, request())
        assert quoted == Quoted(reference=offered)
        outcomes = await client.allocate(merchant_account, strategy, request(), quote=offered)
        called = [received.target for received in api.requests[1:]]
    quotes = f"/pro/shipments/{REFERENCE}/allocate/quote/"
    assert called in ([], [quotes + quote(offered, safe="")])
    assert isinstance(outcomes[REFERENCE], Allocated if called else NotSent)


async def test_the_headers_of_v2() -> None:
    """A v2 request has the key, the version and the format, and no trace header, cookie or other credential."""
    async with listening() as api, open_client() as client:
        await allocate(client, account(api.url))
        headers = dict(api.requests[0].headers)
    del headers["host"], headers["content-length"]
    assert headers == {
        "x-api-key": KEY,
        "x-api-version": "1.1",
        "accept": "application/json",
        "accept-encoding": "gzip",
        "content-type": "application/json",
        "user-agent": "allocation-worker",
    }


async def test_the_headers_of_v1() -> None:
    """A v1 request has key and version under their older names, and the merchant's format."""
    async with listening() as api, open_client() as client:
        merchant_account = account(api.url, {"default_rules": True}, flavour="consignments-v1", format="xml")
        await client.read_back(merchant_account, request())
        headers = api.requests[0].headers
    assert headers["ocp-apim-subscription-key"] == KEY
    assert headers["electio-api-version"] == "1.1"
    assert headers["accept"] == headers["content-type"] == "application/xml"
    assert not {"sentry-trace", "baggage", "cookie", "authorization"} & headers.keys()


@pytest.mark.parametrize("flavour", ["shipments-v2", "consignments-v1"])
async def test_read_backs_bypass_caches(flavour: str) -> None:
    """A read-back requires the current state from every cache; an allocation has no cache header."""
    async with listening() as api, open_client() as client:
        merchant_account = account(api.url, {"default_rules": True}, flavour=flavour)
        await client.read_back(merchant_account, request())
        await client.allocate(merchant_account, merchant_account.merchant.file.allocation.strategy, request())
        assert [received.headers.get("cache-control") for received in api.requests] == ["no-cache", None]


async def test_a_merchant_without_a_key() -> None:
    """Without a key the header is empty, and the request is sent: the API responds with the problem."""
    async with listening(responds_with(response(401, b"{}"))) as api, open_client() as client:
        outcome = await allocate(client, account(api.url, key=None))
        assert api.requests[0].headers["x-api-key"] == ""
    assert outcome == Stopped(reason="unauthorised", message="HTTP 401")


async def test_cookies_are_not_kept() -> None:
    """A cookie set by a response is in no later request."""

    async def sets_a_cookie(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, allocated(request.reference), "set-cookie: session=1; path=/"))

    async with listening(sets_a_cookie) as api, open_client() as client:
        for _ in range(2):
            await allocate(client, account(api.url))
        assert "cookie" not in api.requests[1].headers


async def test_environment_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a proxy nor a password from the environment is used for calls."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with listening() as api, open_client() as client:
        assert isinstance(await allocate(client, account(api.url)), Allocated)
        assert "authorization" not in api.requests[0].headers
