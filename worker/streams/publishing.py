"""Publishes events to the orders stream, and reads rejected ones."""

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
    """An entry of the rejected stream: the original event (cut if it was too large), reason and error.

    `stream_id`: the event's entry in the orders stream.
    """

    stream_id: str
    event: bytes
    reason: str
    error: str


async def publish(
    redis: Redis, stream: str, events: Sequence[bytes], rate: float | None, on_progress: Callable[[int], None]
) -> list[str]:
    """Publish the events in order, at most `rate` a second; returns the ids of their entries.

    `on_progress` receives the number of published events after every round trip. Raises the server's errors;
    publishing all of it again is safe, as a shipment is allocated once.
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
    """The stored rejected events (the last `most` of them), newest first."""
    before, seen = "+", 0
    while most is None or seen < most:
        page: Any = await redis.xrevrange(stream, max=before, count=_AT_ONCE)
        for _, fields in page:
            yield RejectedEvent(
                stream_id=fields[b"stream_id"].decode(),
                event=b64decode(fields[b"event_base64"]) if b"event_base64" in fields else fields[b"event"],
                reason=fields[b"reason"].decode(),
                error=fields[b"error"].decode(errors="replace"),
            )
        if not page:
            break
        before, seen = f"({page[-1][0].decode()}", seen + len(page)
