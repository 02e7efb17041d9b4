"""Network errors are outcomes: not sent, unknown, or decided by the received part of the response."""

import asyncio
import gzip
import json
from collections.abc import Callable

import pytest

from tasks.rules.outcome import Allocated, NotSent, Unknown
from tests.factories.raw_api import (
    KEY,
    REFERENCE,
    Handler,
    Request,
    account,
    address,
    allocate,
    allocated,
    assert_faster_than,
    call_once,
    full_backlog,
    hangs,
    idle_connections,
    listening,
    open_client,
    read_once,
    resets,
    responds_with,
    response,
)
from worker.lab.embedded_server import free_port

HEAD = b"HTTP/1.1 200 OK\r\n"
MEGABYTE = 1024 * 1024

LOST = {
    "reset": resets,
    "closed": responds_with(),
    "half a head": responds_with(HEAD + b"content-"),
    "only promises": responds_with(b"HTTP/1.1 100 Continue\r\n\r\n" * 50),
}

BROKEN = {
    "garbage": responds_with(b"\x00\x01garbage\r\n\r\n"),
    "a page without a head": responds_with(b"<html>sorry</html>"),
    "an endless head": responds_with(HEAD + b"x: " + b"a" * MEGABYTE + b"\r\n\r\n"),
    "a head of many lines": responds_with(HEAD + b"x: a\r\n" * 100_000 + b"\r\n"),
    "no status": responds_with(b"HTTP/1.1 abc OK\r\n\r\n"),
    "an endless head in parts": responds_with(HEAD, *[b"x: " + b"a" * 60_000 + b"\r\n"] * 6, b"\r\n"),
    "two lengths": responds_with(HEAD + b"content-length: 4\r\ncontent-length: 5\r\n\r\n{"),
    "a length and chunks": responds_with(HEAD + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(f"http://127.0.0.1:{free_port()}", id="refused"),
        pytest.param("http://nowhere.invalid", id="no such host"),
        pytest.param("http://xn--a.invalid", id="no such name"),
        pytest.param("http://127.0.0.1:1/" + "a" * 70_000, id="no such address"),
    ],
)
async def test_requests_that_were_not_sent(url: str) -> None:
    """Without a connection nothing was sent, as the outcome states."""
    outcome = await call_once(url)
    assert isinstance(outcome, NotSent)
    assert outcome.reason == "not_sent"


async def test_a_connection_timeout() -> None:
    """If no connection is established in time, no call was made, however short its timeout."""
    with full_backlog() as listener:
        assert isinstance(await call_once(address(listener), timeout_s=1), NotSent)


@pytest.mark.parametrize("handler", [responds_with(), resets, hangs])
async def test_tls_failures(handler: Handler) -> None:
    """If a handshake fails or does not end, no call was made."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        request = Request(method="", target="", headers={}, body=b"", connection=1)
        try:
            await handler(request, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert isinstance(await call_once(url, timeout_s=1), NotSent)


@pytest.mark.parametrize(
    ("handler", "reason", "words"),
    [
        *((handler, "lost_response", "127.0.0.1: ") for handler in LOST.values()),
        *((handler, "unreadable_response", "127.0.0.1: broken HTTP: ") for handler in BROKEN.values()),
    ],
    ids=[*LOST.keys(), *BROKEN.keys()],
)
async def test_no_response(handler: Handler, reason: str, words: str) -> None:
    """Once the request was sent, anything but a response is unknown; the same holds for a read-back."""
    async with listening(handler) as api:
        outcomes = [await call_once(api.url), await read_once(api.url)]
    for outcome in outcomes:
        assert isinstance(outcome, Unknown)
        assert outcome.reason == reason
        assert outcome.message.startswith(words)


async def test_a_large_head() -> None:
    """Many and long header lines, as proxies add them, are accepted."""
    lines = [*(f"x-{number}: {'a' * 40}" for number in range(1000)), f"set-cookie: {'b' * 100_000}"]
    async with listening(responds_with(response(200, NAMED, *lines))) as api:
        assert isinstance(await call_once(api.url), Allocated)


@pytest.mark.parametrize(("timeout_s", "longest_call_s"), [(0.2, 30.0), (20.0, 0.2)])
async def test_a_call_is_bounded(timeout_s: float, longest_call_s: float) -> None:
    """A call takes no longer than its merchant's `timeout_s`, nor than the worker allows."""
    async with listening(hangs) as api, open_client(longest_call_s) as client:
        with assert_faster_than(5):
            outcome = await allocate(client, account(api.url, timeout_s=timeout_s))
    assert isinstance(outcome, Unknown)
    assert (outcome.reason, outcome.message) == ("timeout", "127.0.0.1: no response in 0.2 s")


async def test_a_slow_head() -> None:
    """A head that arrives byte by byte does not prolong the call."""

    async def sends_slowly(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        while not writer.is_closing():
            writer.write(b"x: y\r\n")
            await asyncio.sleep(0.01)

    async with listening(sends_slowly) as api:
        with assert_faster_than(5):
            outcome = await call_once(api.url, timeout_s=0.3)
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "timeout"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    """The key is sent to the host in the merchant file and to no other."""
    async with listening() as other:
        async with listening(
            responds_with(response(status, b"", f"location: {other.url}/pro/shipments/{REFERENCE}"))
        ) as api:
            outcome = await call_once(api.url)
            assert len(api.requests) == 1
        assert other.requests == []
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "unexpected_status"


ECHOES = {
    "an error": response(401, json.dumps({"code": "x", "message": f"bad key {KEY}"}).encode()),
    "an unknown error": response(500, json.dumps({"message": f"{KEY} is wrong"}).encode()),
    "a packed error": response(400, gzip.compress(json.dumps({"message": KEY}).encode()), "content-encoding: gzip"),
}


@pytest.mark.parametrize(
    "handler",
    [*LOST.values(), *BROKEN.values(), *map(responds_with, ECHOES.values())],
    ids=[*LOST.keys(), *BROKEN.keys(), *ECHOES.keys()],
)
async def test_the_key_is_in_no_outcome(handler: Handler) -> None:
    """Whatever the error, and even if the API repeats it, the key is in no outcome."""
    async with listening(handler) as api:
        found = [await call_once(api.url), await read_once(api.url)]
        assert all(request.headers["x-api-key"] == KEY for request in api.requests)
    assert KEY not in repr(found)


def framed(*lines: str, body: bytes) -> bytes:
    """A response with these header lines."""
    return HEAD + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


NAMED = allocated()
NAMELESS = json.dumps({"state": "allocated"}).encode()
OTHER = allocated(f"{REFERENCE}2")


def twice(body: bytes) -> bytes:
    """A response with two lengths."""
    return framed(f"Content-Length: {len(body)}", "x: y", f"content-length:{len(body)} ", body=body)


def listed(body: bytes) -> bytes:
    """A response with two lengths in one line, as a proxy combines them."""
    return framed(f"content-length: {len(body)}, {len(body)}", body=body)


def followed(body: bytes) -> bytes:
    """A response with more bytes than its length."""
    return framed(f"content-length: {len(body)}", body=body + b"HTTP/1.1 500 X\r\n\r\n")


TWICE, MORE = "its length is said twice", "more bytes follow it"
ODD_FRAMES = pytest.mark.parametrize(("frame", "how"), [(twice, TWICE), (listed, TWICE), (followed, MORE)])


@ODD_FRAMES
async def test_invalid_framing(frame: Callable[[bytes], bytes], how: str) -> None:
    """A response with invalid framing counts for the shipment that it names; its connection is not reused."""

    async def handler(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, NAMED) if len(api.requests) == 1 else frame(NAMED))

    async with listening(handler) as api, open_client() as client:
        found = []
        for connections in ([1], [1], [1, 2]):
            found.append(await allocate(client, account(api.url)))
            assert sorted({request.connection for request in api.requests}) == connections
        assert idle_connections(client) == []
    assert [type(outcome) for outcome in found] == [Allocated] * 3, how


@ODD_FRAMES
@pytest.mark.parametrize("body", [NAMELESS, OTHER, b"", b"{"])
async def test_invalid_framing_without_a_reference(frame: Callable[[bytes], bytes], how: str, body: bytes) -> None:
    """A response with invalid framing and without the shipment's reference may belong to another request."""
    async with listening(responds_with(frame(body))) as api:
        outcomes = [await call_once(api.url), await read_once(api.url)]
    for outcome in outcomes:
        assert isinstance(outcome, Unknown)
        assert (outcome.reason, how in outcome.message) == ("unreadable_response", True)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (("content-length: 4", "content-length: 5"), "Duplicate Content-Length"),
        (("content-length: 4", "content-length: 4", "content-length: 5"), "Duplicate Content-Length"),
        (("content-length: 4, 5",), "Invalid character in Content-Length"),
        (("content-length: -4",), "Invalid character in Content-Length"),
        (
            ("content-length: 99", "transfer-encoding: chunked"),
            "Transfer-Encoding can't be present with Content-Length",
        ),
        (
            ("transfer-encoding: chunked", "content-length: 99"),
            "Content-Length can't be present with Transfer-Encoding",
        ),
        (
            ("content-length: 9", "content-length: 9", "transfer-encoding: chunked"),
            "Content-Length can't be present with Transfer-Encoding",
        ),
        (("x: " + "a" * 110_000,), "Got more than 102400 bytes"),
    ],
)
async def test_why_framing_is_invalid(lines: tuple[str, ...], why: str) -> None:
    """The outcome contains the HTTP library's error, and none of the bytes."""
    async with listening(responds_with(framed(*lines, body=NAMED))) as api:
        outcomes = [await call_once(api.url), await read_once(api.url)]
    for outcome in outcomes:
        assert isinstance(outcome, Unknown)
        assert why in outcome.message
        assert "aaa" not in outcome.message
