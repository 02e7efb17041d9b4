"""Foreign responses, sent by something in front of the API, count as an outage; the API's own do not."""

import asyncio

import pytest

from tasks.rules.outcome import FOREIGN, Finding, NotSent, Quoted, Refused, Stopped, Throttled, Unknown
from tests.factories.raw_api import REFERENCE, Request, account, listening, open_client, request
from tests.factories.raw_api import response as over_the_wire
from tests.unit.carrier_api.responses import SERVICE, api_response
from worker.carrier_api import hosts
from worker.carrier_api.client import CarrierApi

Came = Finding | Quoted

PAGES = [
    b"<html><body>403 Forbidden</body></html>",
    b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html></html>",
    b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head/><body>no</body></html>',
    b"<h1>Not here</h1>",
    b"404 page not found",
    b"404",
    b"{not json}",
    b"\x00\x01\x02",
]
OWN = [
    b'{"code": "x"}',
    b"{}",
    b'"no"',
    b'[{"IsSuccess": false}]',
    b"<Error><Message>no</Message></Error>",
    b"<string/>",
    b'\xef\xbb\xbf \n<?xml version="1.0"?><a/>',
]
EMPTY = [b"", b" \n", b"null", b"[]", b" [ ] "]
FLAVOURS = ["shipments-v2", "consignments-v1"]
ASKING = ["quote", "read"]
"""The requests that allocate nothing."""


@pytest.mark.parametrize(("bodies", "form"), [(PAGES, "foreign"), (OWN, "own"), (EMPTY, "empty")])
def test_form(bodies: list[bytes], form: str) -> None:
    """Well-formed XML is foreign unless it is a document of the API."""
    assert {api_response(404, body).form for body in bodies} == {form}


@pytest.mark.parametrize(("begin", "form"), [(b"{", "own"), (b"[{", "own"), (b"<a><b", "own"), (b"", "empty")])
def test_form_of_a_truncated_body(begin: bytes, form: str) -> None:
    """The beginning of a truncated body decides, and identifies a page."""
    assert api_response(404, begin, whole=False).form == form
    assert {api_response(404, page, whole=False).form for page in (b"<html><bo", b"<!DOCTYPE ht", b"Not fo")} == {
        "foreign"
    }


async def _send(client: CarrierApi, url: str, flavour: str, what: str) -> Came:
    quote = account(url, {"quote": "cheapest"}, flavour=flavour)
    match what:
        case "read":
            return await client.read_back(quote, request())
        case "quote":
            return await client.quote(quote, quote.merchant.file.allocation.strategy, request())
        case _:
            return (await client.allocate(quote, SERVICE, request()))[REFERENCE]


def outcomes_of(flavour: str, *script: tuple[str, bytes]) -> list[Came]:
    """The outcome of each request to one host, with these responses."""

    async def run() -> list[Came]:
        responses = iter([body for _, body in script])

        async def handler(_: Request, writer: asyncio.StreamWriter) -> None:
            writer.write(next(responses))

        async with listening(handler) as api, open_client() as client:
            return [await _send(client, api.url, flavour, what) for what, _ in script]

    return asyncio.run(run())


PAGE = over_the_wire(502, PAGES[0])
GOOD = over_the_wire(500, OWN[0])


def foreign_response(words: str, retry_after_s: float | None = None) -> NotSent:
    """The outcome of a foreign response."""
    advice = "not from the API but from something in front of it; check base_url, firewall and proxy"
    return NotSent(reason=FOREIGN, message=f"{words}: {advice}", retry_after_s=retry_after_s)


@pytest.mark.parametrize("what", ["call", *ASKING])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_page_with_a_refusal(flavour: str, what: str) -> None:
    """A page with a status that an ingress returns without forwarding a request means that it was not sent."""
    statuses = (401, 403, 404, 405, 407, 521)
    script = [(what, over_the_wire(status, PAGES[0], "content-type: text/html")) for status in statuses]
    assert outcomes_of(flavour, *script) == [foreign_response(f"HTTP {status} text/html") for status in statuses]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_page_that_may_have_forwarded_the_request(flavour: str) -> None:
    """With any other refusal a gateway may have forwarded a call: it is open. A request without effect is repeated."""
    statuses = (400, 408, 409, 410, 413, 425, 499, 531)
    called = outcomes_of(flavour, *(("call", over_the_wire(status, PAGES[0])) for status in statuses))
    assert {(type(outcome), outcome.reason) for outcome in called if isinstance(outcome, Unknown)} == {
        (Unknown, "unexpected_status")
    }
    assert all(isinstance(outcome, Unknown) for outcome in called)
    for what in ASKING:
        found = outcomes_of(flavour, *((what, over_the_wire(status, PAGES[0])) for status in statuses))
        assert found == [foreign_response(f"HTTP {status}") for status in statuses]


def test_a_page_with_retry_after() -> None:
    """Its `Retry-After` is kept."""
    page = over_the_wire(403, b"blocked", "retry-after: 120")
    assert outcomes_of(FLAVOURS[0], ("call", page)) == [foreign_response("HTTP 403", 120)]


@pytest.mark.parametrize("what", ["call", *ASKING])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_page_without_a_refusal(flavour: str, what: str) -> None:
    """A page with another status is throttling or unknown, as without it."""
    statuses = (200, 202, 302, 500, 502, 503)
    found = outcomes_of(flavour, *((what, over_the_wire(status, PAGES[0])) for status in statuses))
    assert {type(outcome) for outcome in found} == {Unknown}
    (throttled,) = outcomes_of(flavour, (what, over_the_wire(429, PAGES[0], "retry-after: 7")))
    assert throttled == Throttled(reason="throttled", message="HTTP 429", retry_after_s=7)


@pytest.mark.parametrize("what", ["call", *ASKING])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_refused_key(flavour: str, what: str) -> None:
    """A 401 or 403 from the API itself, or an empty one from its gateway, is about the key, also at a foreign host."""
    for status, reason in ((401, "unauthorised"), (403, "forbidden")):
        found = outcomes_of(flavour, ("read", PAGE), *((what, over_the_wire(status, body)) for body in (b"", *OWN)))[1:]
        assert {(type(outcome), getattr(outcome, "reason", "")) for outcome in found} == {(Stopped, reason)}


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("body", [b"", b"null", b"[]"])
@pytest.mark.parametrize("status", [400, 404, 405, 410, 521, 531])
def test_an_empty_refusal_after_a_page(status: int, body: bytes, flavour: str) -> None:
    """If the latest response with a body was a page, an empty refusal is foreign too."""
    script = [(what, over_the_wire(status, body)) for what in ("call", *ASKING)]
    called, *others = outcomes_of(flavour, ("read", GOOD), ("call", PAGE), *script)[2:]
    assert others == [foreign_response(f"HTTP {status}")] * 2
    if status in (404, 405, 521):
        assert called == foreign_response(f"HTTP {status}")
    else:
        assert isinstance(called, Unknown)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("status", [400, 404, 405, 410, 521, 531])
def test_an_empty_refusal_of_an_unknown_host(status: int, flavour: str) -> None:
    """Before any response with a body, no empty refusal of a call is certain, and none counts for other requests."""
    empty = over_the_wire(status)
    called, quoted, read = outcomes_of(flavour, ("call", empty), ("quote", empty), ("read", empty))
    assert quoted == read == foreign_response(f"HTTP {status}")
    assert isinstance(called, Unknown) or (isinstance(called, Refused) and not called.certain)
    if flavour == FLAVOURS[0]:
        reasons = {400: "invalid_request", 404: "carrier_service_not_found", 410: "shipment_gone"}
        reasons |= {405: "unexpected_status", 521: "allocation_failed", 531: "no_quotes_available"}
        assert called.reason == reasons[status]


@pytest.mark.parametrize("first", ["call", *ASKING])
def test_an_empty_refusal_of_the_api(first: str) -> None:
    """If the latest response with a body was the API's, to any request, an empty one counts by its status."""
    empty = over_the_wire(404)
    _, _, called, quoted, read = outcomes_of(
        FLAVOURS[0], ("read", PAGE), (first, GOOD), *((w, empty) for w in ("call", *ASKING))
    )
    assert called == Refused(reason="carrier_service_not_found", message="HTTP 404", certain=False)
    assert quoted == read == Stopped(reason="shipment_not_found", message="HTTP 404")


def test_an_empty_refusal_much_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The form of a response counts only for a while: later, empty refusals are uncertain."""
    monkeypatch.setattr(hosts, "KNOWN_S", 0.0)
    empty = over_the_wire(404)
    _, called, quoted, read = outcomes_of(FLAVOURS[0], ("read", GOOD), *((w, empty) for w in ("call", *ASKING)))
    assert called == Refused(reason="carrier_service_not_found", message="HTTP 404", certain=False)
    assert quoted == read == foreign_response("HTTP 404")


def test_empty_refusals_of_v1() -> None:
    """v1's empty 400 and 404 are uncertain refusals at a known host, too."""
    for status in (400, 404):
        (_, called) = outcomes_of(FLAVOURS[1], ("read", GOOD), ("call", over_the_wire(status)))
        assert called == Refused(reason="refused", message=f"HTTP {status}", certain=False)


def test_each_host_is_separate() -> None:
    """The responses of one host do not count for another."""

    async def handler(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(over_the_wire(404))

    async def pages(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(PAGE)

    async def run() -> list[Came]:
        async with listening(pages) as other, listening(handler) as api, open_client() as client:
            await _send(client, other.url, FLAVOURS[0], "call")
            return [await _send(client, api.url, FLAVOURS[0], what) for what in ("call", "read")]

    called, read = asyncio.run(run())
    assert isinstance(called, Refused)
    assert read == foreign_response("HTTP 404")


def test_several_shipments() -> None:
    """Each shipment of a call has the outcome that it was not sent."""

    async def pages(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(over_the_wire(404, PAGES[0]))

    async def run() -> object:
        async with listening(pages) as api, open_client() as client:
            merchant_account = account(api.url, {"default_rules": True})
            return await client.allocate(
                merchant_account, merchant_account.merchant.file.allocation.strategy, request("sp_1", "sp_2")
            )

    assert asyncio.run(run()) == {"sp_1": foreign_response("HTTP 404"), "sp_2": foreign_response("HTTP 404")}
