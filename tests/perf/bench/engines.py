"""The cost of a call below the client: own connections and aiohttp in turn. `python -m tests.perf.bench.engines`."""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import httpx
import uvloop

from tasks.work.clock import boottime
from tests.perf.bench.processes import running_stub
from worker.carrier_api.transport.transport import Transport, origin_of

CALLS, AT_ONCE, ROUNDS = 20_000, 50, 3
HEADERS = {"x-api-key": "bench", "x-api-version": "1.1", "content-type": "application/json"}

Call = Callable[[str], Awaitable[bytes]]


async def cost_us(call: Call) -> float:
    """CPU of this process for one call, in microseconds, with `AT_ONCE` calls in flight."""
    await _calls(call, CALLS // 10)
    before = time.process_time()
    await _calls(call, CALLS)
    return (time.process_time() - before) / CALLS * 1e6


async def _calls(call: Call, count: int) -> None:
    references = iter([f"sp_{number:09d}" for number in range(count)])

    async def one_after_the_other() -> None:
        for reference in references:
            assert reference.encode() in await call(f"/pro/shipments/{reference}/allocate/virtual_service/X")

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))


async def ours(url: str) -> float:
    """A request through our transport."""
    transport, base, headers = Transport(30), httpx.URL(url), httpx.Headers(HEADERS)

    async def call(path: str) -> bytes:
        extensions = {
            "origin": origin_of(base),
            "target": path.encode(),
            "write_by": boottime() + 1,
            "timeout": {"connect": 5, "read": 20},
        }
        stream = httpx.ByteStream(b"")
        request = httpx.Request("PUT", base, headers=headers, stream=stream, extensions=extensions)
        answer = await transport.handle_async_request(request)
        body = b"".join([chunk async for chunk in answer.stream])  # type: ignore[union-attr]  # of the asyncio kind
        await answer.stream.aclose()  # type: ignore[union-attr]  # likewise
        return body

    found = await cost_us(call)
    await transport.aclose()
    return found


async def aiohttps(url: str) -> float:
    """A request through unmodified aiohttp."""
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0), headers=HEADERS) as session:

        async def call(path: str) -> bytes:
            async with session.put(path) as answer:
                return await answer.read()

        return await cost_us(call)


def main() -> None:
    """Print the cost of each, per round."""
    with tempfile.TemporaryDirectory() as folder, running_stub(0, Path(folder) / "stub.log") as (_, url):
        for _ in range(ROUNDS):
            for name, engine in (("ours", ours), ("aiohttp", aiohttps)):
                sys.stdout.write(f"{name:8} {uvloop.run(engine(url)):6.0f} us of CPU a call\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
