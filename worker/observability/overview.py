"""Health and counts, read from the ledger without changing it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from config.settings import Settings
from worker.ledger import keys
from worker.ledger.records import known_merchants, server_ms
from worker.ledger.throttling import Breaker, Slowed, breakers, slowed
from worker.observability.heartbeat import heartbeats
from worker.redis_client.safety import describe
from worker.redis_client.store import TRANSIENT_ERRORS, Redis, ResponseError
from worker.streams.orders import GROUP


@dataclass(frozen=True, kw_only=True, slots=True)
class MerchantCounts:
    """One merchant's shipments by state. `allocated`: all time. `failed`: can be replayed.

    `oldest_due_s`: how long the first due shipment has been waiting, in seconds. `paused`: the reason, if it is paused.
    All time: `repeated_calls` counts calls after an open one, `carrier_changed` those of these shipments whose carrier
    had changed at their recheck.
    """

    merchant: str
    due: int
    parked: int
    working: int
    allocated: int
    failed: int
    oldest_due_s: float | None
    paused: str | None
    repeated_calls: int
    carrier_changed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OrdersCounts:
    """Entries of the orders stream that no intake has read, and that an intake has read and not yet accepted.

    `undelivered` is None if the server does not count it; `has_group` is false until an intake has run.
    """

    undelivered: int | None
    unacknowledged: int
    has_group: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """All counts. `last_sweep_s`: how long ago, in seconds; None before the first sweep.

    `processes`: those with a fresh heartbeat, by `role@host:pid`.
    """

    server: str
    unsafe: tuple[str, ...]
    merchants: tuple[MerchantCounts, ...]
    last_sweep_s: float | None
    orders: OrdersCounts
    rejected: int
    ignored: int
    lost_orders: int
    processes: dict[str, Any]
    breakers: tuple[Breaker, ...]
    slowed: tuple[Slowed, ...]


async def count_all(redis: Redis, settings: Settings) -> Counts:
    """Read all counts, in a few round trips however many shipments there are."""
    server, unsafe = await describe(redis, settings)
    now = await server_ms(redis)
    pipe = redis.pipeline(transaction=False)
    pipe.get(keys.LAST_SWEEP)
    pipe.get(keys.IGNORED_EVENTS)
    pipe.get(keys.LOST_ORDERS)
    pipe.xlen(settings.rejected_stream)
    pipe.hgetall(keys.PAUSED)
    swept, ignored, lost_orders, rejected, paused = await pipe.execute()
    return Counts(
        server=server,
        unsafe=tuple(unsafe),
        merchants=await _count_merchants(redis, settings, now, paused),
        last_sweep_s=(now - int(swept)) / 1000 if swept else None,
        orders=await count_orders(redis, settings.orders_stream),
        rejected=rejected,
        ignored=int(ignored or 0),
        lost_orders=int(lost_orders or 0),
        processes=await heartbeats(redis),
        breakers=await breakers(redis, now),
        slowed=await slowed(redis, now),
    )


async def _count_merchants(
    redis: Redis, settings: Settings, now: int, paused: dict[bytes, bytes]
) -> tuple[MerchantCounts, ...]:
    names = await known_merchants(redis, settings.merchants_dir)
    kept_since = now - round(settings.keep_days * 86_400_000)
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.zcount(keys.schedule(name), "-inf", now)
        pipe.zcount(keys.schedule(name), f"({now}", "+inf")
        pipe.zcard(keys.working(name))
        pipe.hmget(keys.counts(name), "allocated", "repeated_calls", "carrier_changed")
        pipe.zcount(keys.failed(name), kept_since, "+inf")
        pipe.zrange(keys.schedule(name), 0, 0, withscores=True)
    replies = await pipe.execute()
    return tuple(
        _merchant(name, replies[6 * i : 6 * i + 6], now, paused.get(name.encode())) for i, name in enumerate(names)
    )


def _merchant(name: str, replies: Sequence[Any], now: int, paused: bytes | None) -> MerchantCounts:
    due, parked, working, counted, failed, first = replies
    allocated, repeated_calls, carrier_changed = (int(number or 0) for number in counted)
    return MerchantCounts(
        merchant=name,
        due=due,
        parked=parked,
        working=working,
        allocated=allocated,
        failed=failed,
        oldest_due_s=(now - first[0][1]) / 1000 if due else None,
        paused=json.loads(paused)["why"] if paused else None,
        repeated_calls=repeated_calls,
        carrier_changed=carrier_changed,
    )


async def count_orders(redis: Redis, stream: str) -> OrdersCounts:
    """The lag of the orders stream."""
    try:
        info: dict[str, Any] = await redis.xinfo_stream(stream)
    except TRANSIENT_ERRORS:
        raise
    except ResponseError:
        return OrdersCounts(undelivered=0, unacknowledged=0, has_group=False)
    for group in await redis.xinfo_groups(stream):
        if group["name"] == GROUP.encode():
            return OrdersCounts(undelivered=_lag(group, info), unacknowledged=group["pending"], has_group=True)
    return OrdersCounts(undelivered=info["length"], unacknowledged=0, has_group=False)


def _lag(group: dict[str, Any], stream: dict[str, Any]) -> int | None:
    """Redis before 7 does not count it, but knows whether there are entries; later versions lose count after XDEL."""
    if group["last-delivered-id"] == stream["last-generated-id"]:
        return 0
    lag = group.get("lag")
    return None if lag is None else int(lag)
