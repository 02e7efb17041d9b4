"""Incomplete, endless, enormous or compressed bodies: the received part counts, within bounds."""

import asyncio
import gzip
import tracemalloc
import zlib

import pytest

from tasks.rules.outcome import Allocated, Queued, Stopped, Unknown
from tests.factories.raw_api import (
    REFERENCE,
    Handler,
    Request,
    account,
    allocated,
    assert_faster_than,
    call_once,
    listening,
    open_client,
    read_once,
    request,
    responds_with,
    response,
)

HEAD = b"HTTP/1.1 200 OK\r\n"
MEGABYTE = 1024 * 1024


def cut(status: int, *headers: str, body: bytes = b"{") -> Handler:
    """A response that is longer by its head than its body before the connection closes."""
    whole = response(status, b" " * 1000, *headers)
    return responds_with(whole[:-1000] + body)


@pytest.mark.parametrize(
    ("handler", "kind", "reason"),
    [
        (cut(401), Stopped, "unauthorised"),
        (cut(410), Unknown, "incomplete_response"),
        (cut(400), Unknown, "incomplete_response"),
        (cut(404), Unknown, "incomplete_response"),
        (cut(521), Unknown, "incomplete_response"),
        (cut(429, "retry-after: 7"), Unknown, "incomplete_response"),
        (cut(503), Unknown, "server_error"),
        (cut(302), Unknown, "incomplete_response"),
        (cut(202), Queued, "queued"),
        (cut(200), Unknown, "incomplete_response"),
        (cut(200, body=allocated()), Allocated, None),
        (responds_with(HEAD + b"transfer-encoding: chunked\r\n\r\n40\r\n{"), Unknown, "incomplete_response"),
    ],
)
async def test_a_truncated_response(handler: Handler, kind: type, reason: str | None) -> None:
    """A complete head with half a body is parsed by its status and the received part."""
    async with listening(handler) as api:
        outcome = await call_once(api.url)
    assert isinstance(outcome, kind)
    assert outcome.reason == reason
    if isinstance(outcome, Unknown) and "429" in outcome.message:
        assert outcome.retry_after_s == 7


async def test_chunks_that_become_invalid() -> None:
    """A body whose second half is no chunk counts as far as it could be read."""

    async def handler(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 X\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"no chunk\r\n")
        writer.close()

    async with listening(handler) as api:
        outcome = await call_once(api.url, timeout_s=1)
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "server_error"


async def test_an_endless_body() -> None:
    """Of a body that never ends, the part within the call's time counts."""

    async def handler(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"content-length: 1000000\r\n\r\n" + allocated())
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.01)

    async with listening(handler) as api:
        with assert_faster_than(5):
            assert isinstance(await call_once(api.url, timeout_s=1), Allocated)


async def test_an_enormous_body() -> None:
    """Of a body without an end a few megabytes are read, and no more."""
    sent = 0

    async def handler(_: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 500 X\r\ncontent-length: 1000000000\r\n\r\n")
        while sent < 1_000_000_000:
            writer.write(b"a" * MEGABYTE)
            sent += MEGABYTE
            await writer.drain()

    async with listening(handler) as api:
        outcome = await call_once(api.url)
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "server_error"
    assert sent < 30 * MEGABYTE


def compressed_bomb(layers: int) -> bytes:
    """Two hundred megabytes of spaces, compressed."""
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(b" " * MEGABYTE) for _ in range(200)) + packer.flush()
    for _ in range(layers - 1):
        packed = gzip.compress(packed)
    return packed


@pytest.mark.parametrize("layers", [1, 2])
async def test_a_compression_bomb(layers: int) -> None:
    """A small response that decompresses into an enormous one is decompressed only up to the size limit."""
    body = response(200, compressed_bomb(layers), "content-encoding: " + ", ".join(["gzip"] * layers))
    async with listening(responds_with(body)) as api:
        tracemalloc.start()
        try:
            outcome = await call_once(api.url)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert isinstance(outcome, Unknown)
    assert peak < 40 * MEGABYTE


def deflated(body: bytes, wbits: int) -> bytes:
    """A zlib stream (15) or a raw one (-15)."""
    packer = zlib.compressobj(wbits=wbits)
    return packer.compress(body) + packer.flush()


BODY = allocated()
HALVES = gzip.compress(BODY[:20]) + gzip.compress(BODY[20:])
WIDE = allocated().decode()
CONSIGNMENT = f"<Consignment><Reference>{REFERENCE}</Reference><Status>Allocated</Status></Consignment>"

READ = {
    "gzip": (gzip.compress(BODY), "content-encoding: GZIP"),
    "gzip in two members": (HALVES, "content-encoding: gzip"),
    "gzip and zeros": (gzip.compress(BODY) + bytes(8), "content-encoding: gzip"),
    "x-gzip": (gzip.compress(BODY), "content-encoding: x-gzip"),
    "only labelled gzip": (BODY, "content-encoding: gzip"),
    "only labelled deflate": (b" " + BODY, "content-encoding: deflate"),
    "only labelled br": (BODY, "content-encoding: br"),
    "zlib": (deflated(BODY, 15), "content-encoding: deflate"),
    "raw deflate": (deflated(BODY, -15), "content-encoding: deflate"),
    "raw deflate of a long one": (deflated(BODY + b" " * 99999, -15), "content-encoding: deflate"),
    "two codings": (gzip.compress(deflated(BODY, 15)), "content-encoding: deflate, identity, gzip"),
    "two lines of codings": (gzip.compress(deflated(BODY, 15)), "content-encoding: deflate", "content-encoding: gzip"),
    "utf-16 with a mark": (WIDE.encode("utf-16"), "content-type: application/json; charset=utf-16"),
    "utf-16 with a mark alone": (WIDE.encode("utf-16"), "content-type: application/json"),
    "utf-16 without one": (WIDE.encode("utf-16-be"), 'content-type: application/json; charset="UTF-16"'),
    "utf-16le": (WIDE.encode("utf-16-le"), "content-type: application/json; charset=utf-16le"),
    "not utf-16": (BODY, "content-type: application/json; charset=utf-16"),
    "ascii": (BODY, "content-type: application/json; charset=us-ascii"),
    "an unknown charset": (BODY, "content-type: application/json; charset=klingon"),
    "packed utf-16": (gzip.compress(WIDE.encode("utf-16")), "content-encoding: gzip"),
    "a long header": (BODY, "content-security-policy: " + "a" * 60_000),
}


@pytest.mark.parametrize(("body", "headers"), [(body, headers) for body, *headers in READ.values()], ids=READ.keys())
async def test_supported_encodings(body: bytes, headers: list[str]) -> None:
    """Bodies that common clients can read are read, by calls and read-backs."""
    async with listening(responds_with(response(200, body, *headers))) as api:
        found = [await call_once(api.url), await read_once(api.url)]
        assert api.requests[0].headers["accept-encoding"] == "gzip"
    assert [type(outcome) for outcome in found] == [Allocated, Allocated]


XML = {
    "iso-8859-1": (f'<?xml version="1.0" encoding="iso-8859-1"?><!-- \xe9 -->{CONSIGNMENT}'.encode("latin-1"), "x: y"),
    "a line feed first": (f'\n<?xml version="1.0" encoding="utf-8"?>{CONSIGNMENT}'.encode(), "x: y"),
    "utf-16": (f'<?xml version="1.0" encoding="utf-16"?>{CONSIGNMENT}'.encode("utf-16"), "x: y"),
    "packed": (gzip.compress(b"\r\n" + CONSIGNMENT.encode()), "content-encoding: gzip"),
}


@pytest.mark.parametrize(("body", "header"), XML.values(), ids=XML.keys())
async def test_supported_encodings_of_xml(body: bytes, header: str) -> None:
    """So is XML."""
    async with listening(responds_with(response(200, body, header))) as api:
        merchant = account(api.url, {"default_rules": True}, flavour="consignments-v1", format="xml")
        async with open_client() as client:
            found = await client.read_back(merchant, request())
    assert isinstance(found, Allocated)


UNREAD = {
    "broken gzip": (gzip.compress(BODY)[:10] + b"\xff" * 99, "content-encoding: gzip", "gzip: Error -3"),
    "no deflate": (b"nonsense", "content-encoding: deflate", "deflate: Error -3"),
    "many codings": (BODY, "content-encoding: " + "gzip, " * 9 + "gzip", "content-encoding: 10 codings"),
    "many members": (gzip.compress(b" ") * 2000 + gzip.compress(BODY), "content-encoding: gzip", "members"),
    "an unknown coding": (b"nonsense", "content-encoding: br", "content-encoding br: JSON: Expecting value"),
    "another coding": (b"(\xb5/\xfd", "content-encoding: zstd", "content-encoding zstd: JSON: Expecting value"),
    "an unknown charset": (
        BODY.decode().encode("utf-32"),
        "content-type: application/json; charset=utf-32",
        "application/json; charset=utf-32: JSON: Expecting value",
    ),
    "no JSON": (BODY[:-1], "x: y", "JSON: Expecting ',' delimiter"),
    "too much": (gzip.compress(bytes(5 * MEGABYTE)), "content-encoding: gzip", "gzip: more than 4194304 bytes"),
}


@pytest.mark.parametrize(("body", "header", "why"), UNREAD.values(), ids=UNREAD.keys())
async def test_why_a_response_is_unreadable(body: bytes, header: str, why: str) -> None:
    """An unreadable response has a reason."""
    async with listening(responds_with(response(200, body, header))) as api:
        found = [await call_once(api.url), await read_once(api.url)]
    for outcome in found:
        assert isinstance(outcome, Unknown)
        assert why in outcome.message


LETTERS = {
    "utf-8": ("é".encode(), "application/json", "é"),
    "lost": (b"\xe9", "application/json", None),
    "latin-1": (b"\xe9", "application/json; charset=iso-8859-1", "é"),
    "windows-1252": (b"\x80", 'application/json; Charset="Windows-1252"', "€"),
    "utf-8 declared as latin-1": ("é".encode(), "application/json; charset=iso-8859-1", "Ã©"),
    "lost in windows-1252": (b"\x81", "application/json; charset=windows-1252", None),
    "declared as utf-8": (b"\xe9", "application/json; charset=utf-8", None),
}


@pytest.mark.parametrize(("letter", "content_type", "read"), LETTERS.values(), ids=LETTERS.keys())
async def test_an_invalid_character(letter: bytes, content_type: str, read: str | None) -> None:
    """An invalid character is replaced in a name; a reference, a link, a price or an id with one is null."""
    body = b"""{"state": "allocated", "correlation_id": "X", "price": {"net": "1X", "currency": "X"},
        "carrier": {"name": "X", "reference": "X", "service_name": "a", "service_reference": "X"},
        "tracking_details": {"shipment": {"tracking_references": ["1", "X"]}},
        "_links": [{"rel": "label", "href": "https://h/X"}]}""".replace(b"X", letter)
    async with listening(responds_with(response(200, body, f"content-type: {content_type}"))) as api:
        found = await call_once(api.url)
    assert isinstance(found, Allocated)
    assert found.carrier is not None
    assert found.carrier.name == (read or "\ufffd")
    assert (found.carrier.reference, found.carrier.service_reference, found.correlation_id) == (read, read, read)
    assert found.tracking_references == ("1", *([read] if read else []))
    assert [label.href for label in found.labels] == ([f"https://h/{read}"] if read else [])
    assert (found.price.currency if found.price else None) == read
