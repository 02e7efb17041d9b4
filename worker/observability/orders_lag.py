"""The lag of the orders stream: entries that no intake has read or accepted."""

from dataclasses import dataclass
from typing import Any

from worker.redis_client.store import TRANSIENT_ERRORS, Redis, ResponseError
from worker.streams.orders import GROUP


@dataclass(frozen=True, kw_only=True, slots=True)
class OrdersCounts:
    """Entries of the orders stream that no intake has read, and that an intake has read and not yet accepted."""

    undelivered: int | None
    """Entries that no intake has read; None if the server does not count them."""
    unacknowledged: int
    """Entries that an intake has read and not yet accepted."""
    has_group: bool
    """Whether an intake has ever run."""
    oldest_s: float | None = None
    """The age of the oldest of these entries, in seconds; None without any."""


async def count_orders(redis: Redis, stream: str, now_ms: int) -> OrdersCounts:
    """The lag of the orders stream."""
    try:
        info: dict[str, Any] = await redis.xinfo_stream(stream)
    except TRANSIENT_ERRORS:
        raise
    except ResponseError:
        return OrdersCounts(undelivered=0, unacknowledged=0, has_group=False)
    for group in await redis.xinfo_groups(stream):
        if group["name"] == GROUP.encode():
            oldest_ms = await _oldest_ms(redis, stream, group)
            return OrdersCounts(
                undelivered=_lag(group, info),
                unacknowledged=group["pending"],
                has_group=True,
                oldest_s=None if oldest_ms is None else max(0.0, (now_ms - oldest_ms) / 1000),
            )
    first = info["first-entry"]
    oldest_s = max(0.0, (now_ms - _ms(first[0])) / 1000) if first else None
    return OrdersCounts(undelivered=info["length"], unacknowledged=0, has_group=False, oldest_s=oldest_s)


async def _oldest_ms(redis: Redis, stream: str, group: dict[str, Any]) -> int | None:
    """The time of the first entry that is not acknowledged."""
    if group["pending"]:
        return _ms((await redis.xpending(stream, GROUP))["min"])
    unread: Any = await redis.xrange(stream, min=f"({group['last-delivered-id'].decode()}", count=1)
    return _ms(unread[0][0]) if unread else None


def _ms(stream_id: bytes) -> int:
    return int(stream_id.partition(b"-")[0])


def _lag(group: dict[str, Any], stream: dict[str, Any]) -> int | None:
    """Redis before 7 does not count it, but knows whether there are entries; later versions lose count after XDEL."""
    if group["last-delivered-id"] == stream["last-generated-id"]:
        return 0
    lag = group.get("lag")
    return None if lag is None else int(lag)
