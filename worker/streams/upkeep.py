"""Maintenance of the orders stream: trimming, dead consumers, lost orders."""

import structlog

from config.settings import Settings
from worker.ledger import keys
from worker.ledger.scripts import COUNT_LOST_ORDERS, REMOVE_CONSUMERS
from worker.ledger.stream_arguments import ConsumersArgs, GroupArgs
from worker.redis_client.store import TRANSIENT_ERRORS, Redis, ResponseError, Store
from worker.streams.orders import GROUP

GONE_S = 600.0
"""A consumer without entries that has been idle this long is removed; longer if leases are longer."""

log = structlog.get_logger(__name__)


async def keep_orders(store: Store, settings: Settings, now_ms: int) -> None:
    """Runs once per sweep; safe to run twice at once."""
    await tell_of_lost(store, settings)
    await _drop_consumers(store, settings)
    if settings.trim_orders:
        await trim_orders(store.redis, settings.orders_stream, settings.kept_since(now_ms))


async def tell_of_lost(store: Store, settings: Settings) -> None:
    """Log and count entries of the orders stream that no intake ever received; each once."""
    found = await store.run(COUNT_LOST_ORDERS, [settings.orders_stream], GroupArgs(GROUP))
    if found:
        await keep_lost(store, settings)
        missing, after, before = found
        log.error(
            "orders_lost",
            entries=missing,
            after=after.decode(),
            up_to=before.decode(),
            why="trimmed or deleted before they were read, or the consumer group was created behind them",
            next=f"publish them again; for those still there XGROUP SETID {settings.orders_stream} {GROUP} ID",
        )


async def keep_lost(store: Store, settings: Settings) -> None:
    """Keep the number of lost orders until the last loss is older than events are kept, or they are dismissed."""
    await store.redis.expire(keys.LOST_ORDERS, round(settings.keep_days * 86_400))


async def _drop_consumers(store: Store, settings: Settings) -> None:
    gone_ms = round(max(GONE_S, 4 * settings.lease_seconds) * 1000)
    try:
        gone = await store.run(REMOVE_CONSUMERS, [settings.orders_stream], ConsumersArgs(GROUP, gone_ms))
    except TRANSIENT_ERRORS:
        raise
    except ResponseError:
        # No intake has created the group yet.
        return
    for name in gone:
        log.info("consumer_removed", consumer=name.decode())


async def trim_orders(redis: Redis, stream: str, oldest_ms: int) -> None:
    """Trim older entries, but none that a consumer group has not received or acknowledged."""
    if not await redis.exists(stream):
        return
    groups = await redis.xinfo_groups(stream)
    keep_from = [await _oldest_needed(redis, stream, group) for group in groups]
    if keep_from:
        await redis.xtrim(stream, minid=min([*keep_from, f"{max(0, oldest_ms)}-0"], key=_parts), approximate=True)


async def _oldest_needed(redis: Redis, stream: str, group: dict[str, bytes]) -> str:
    pending = await redis.xpending(stream, group["name"])
    if pending["pending"]:
        return str(pending["min"].decode())
    milliseconds, sequence = _parts(group["last-delivered-id"].decode())
    return f"{milliseconds}-{sequence + 1}"


def _parts(stream_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence or 0)
