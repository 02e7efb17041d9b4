"""Bodies that break off, do not end, are enormous or packed: what came of them counts, within bounds."""

import asyncio
import gzip
import tracemalloc
import zlib

import pytest

from tasks.outcome import Allocated, Queued, Stopped, Unknown
from tests.worker.raw_api import Answer, Request, allocated, answers, call_once, listening, reply, taking_at_most

HEAD = b"HTTP/1.1 200 OK\r\n"
MEGABYTE = 1024 * 1024


def cut(status: int, *headers: str, body: bytes = b"{") -> Answer:
    """A head that promises more than comes before the connection drops."""
    whole = reply(status, b" " * 1000, *headers)
    return answers(whole[:-1000] + body)


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (cut(401), Stopped, "unauthorised"),
        (cut(410), Unknown, "half_an_answer"),
        (cut(400), Unknown, "half_an_answer"),
        (cut(404), Unknown, "half_an_answer"),
        (cut(521), Unknown, "half_an_answer"),
        (cut(429, "retry-after: 7"), Unknown, "half_an_answer"),
        (cut(503), Unknown, "server_error"),
        (cut(302), Unknown, "half_an_answer"),
        (cut(202), Queued, "queued"),
        (cut(200), Unknown, "half_an_answer"),
        (cut(200, body=allocated()), Allocated, None),
        (answers(HEAD + b"transfer-encoding: chunked\r\n\r\n40\r\n{"), Unknown, "half_an_answer"),
    ],
)
async def test_an_answer_that_breaks_off(answer: Answer, kind: type, reason: str | None) -> None:
    """A whole head with half a body is judged by its status and by what came."""
    async with listening(answer) as api:
        outcome = await call_once(api.url)
    assert isinstance(outcome, kind)
    assert outcome.reason == reason
    if isinstance(outcome, Unknown) and "429" in outcome.message:
        assert outcome.retry_after_s == 7


async def test_chunks_that_become_garbage() -> None:
    """A body whose second half is no chunk counts as far as it could be read."""

    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 X\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"no chunk\r\n")
        writer.close()

    async with listening(answer) as api:
        outcome = await call_once(api.url, timeout_s=1)
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "server_error"


async def test_a_body_that_never_ends() -> None:
    """A body that trickles on counts as far as it came within the call's time."""

    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"content-length: 1000000\r\n\r\n" + allocated())
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.01)

    async with listening(answer) as api:
        with taking_at_most(5):
            assert isinstance(await call_once(api.url, timeout_s=1), Allocated)


async def test_an_enormous_body() -> None:
    """Of a body without end a few megabytes are read, and then no more."""
    sent = 0

    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 500 X\r\ncontent-length: 1000000000\r\n\r\n")
        while sent < 1_000_000_000:
            writer.write(b"a" * MEGABYTE)
            sent += MEGABYTE
            await writer.drain()

    async with listening(answer) as api:
        outcome = await call_once(api.url)
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "server_error"
    assert sent < 30 * MEGABYTE


def bomb(layers: int) -> bytes:
    """Two hundred megabytes of blanks, packed."""
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(b" " * MEGABYTE) for _ in range(200)) + packer.flush()
    for _ in range(layers - 1):
        packed = gzip.compress(packed)
    return packed


@pytest.mark.parametrize("layers", [1, 2])
async def test_a_bomb(layers: int) -> None:
    """A small answer that unpacks into an enormous one is unpacked only as far as answers may be long."""
    body = reply(200, bomb(layers), "content-encoding: " + ", ".join(["gzip"] * layers))
    async with listening(answers(body)) as api:
        tracemalloc.start()
        try:
            outcome = await call_once(api.url)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert isinstance(outcome, Unknown)
    assert peak < 40 * MEGABYTE


async def test_a_packed_answer() -> None:
    """A gzipped body is read like any other, and one that only says so is unreadable."""
    packed = reply(200, gzip.compress(allocated()), "content-encoding: GZIP")
    async with listening(answers(packed)) as api:
        assert isinstance(await call_once(api.url), Allocated)
        assert api.requests[0].headers["accept-encoding"] == "gzip"
    async with listening(answers(reply(200, allocated(), "content-encoding: gzip"))) as api:
        assert isinstance(await call_once(api.url), Unknown)
