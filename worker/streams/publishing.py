"""Put events on the orders stream, and read back those that were rejected."""

import asyncio
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.rules.portions import portions
from worker.redis_client.store import Redis

_AT_ONCE = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedEvent:
    """An entry of the rejected stream: the event as it came (whole, unless it was too large) and what was wrong."""

    stream_id: str
    event: bytes
    reason: str
    error: str


async def publish(
    redis: Redis, stream: str, events: Sequence[bytes], rate: float | None, on_progress: Callable[[int], None]
) -> list[str]:
    """Put the events on the stream, in order, at most `rate` a second; returns the ids of their entries.

    `on_progress` is told after every round trip how many are there. Raises what the server's errors raise: what was
    told before is there, and publishing all of it again does no harm, as a shipment is allocated once.
    """
    began, ids = time.monotonic(), list[str]()
    for chunk in portions(events, _AT_ONCE if rate is None else max(1, min(_AT_ONCE, round(rate / 10)))):
        if rate is not None:
            await asyncio.sleep(max(0.0, began + len(ids) / rate - time.monotonic()))
        pipe = redis.pipeline(transaction=False)
        for event in chunk:
            pipe.xadd(stream, {"event": event})
        ids += [stream_id.decode() for stream_id in await pipe.execute()]
        on_progress(len(ids))
    return ids


async def rejected_events(redis: Redis, stream: str, most: int | None = None) -> AsyncIterator[RejectedEvent]:
    """The rejected events that are kept (the last `most` of them), newest first."""
    before, seen = "+", 0
    while most is None or seen < most:
        page: Any = await redis.xrevrange(stream, max=before, count=_AT_ONCE)
        for stream_id, fields in page:
            yield RejectedEvent(
                stream_id=stream_id.decode(),
                event=b64decode(fields[b"event_base64"]) if b"event_base64" in fields else fields[b"event"],
                reason=fields[b"reason"].decode(),
                error=fields[b"error"].decode(errors="replace"),
            )
        if not page:
            break
        before, seen = f"({page[-1][0].decode()}", seen + len(page)
