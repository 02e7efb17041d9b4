"""The overview: health and counts, read from the ledger without changing it. Status, logs and pages use it."""

import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from config.settings import Settings
from worker.ledger import keys
from worker.ledger.records import known_merchants, server_ms
from worker.ledger.throttling import Breaker, Slowed, breakers, slowed
from worker.observability.heartbeat import heartbeats
from worker.observability.orders_lag import OrdersCounts, count_orders
from worker.redis_client.safety import describe
from worker.redis_client.store import NoPermissionError, Redis

MAX_NOTED = 100_000
"""How many shipments in their quiet time, near their deadline, or rejected events are counted by merchant."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MerchantCounts:
    """One merchant's shipments by state. `allocated`: all time. `failed`: to deal with.

    `oldest_due_s`: how long the first due shipment has been waiting, in seconds. `paused`: the reason, if it is paused,
    and `paused_since`, in seconds since the epoch. `on_hold`: why a person stopped it.
    `in_quiet_time`, `near_deadline`: parked shipments in their quiet time, and with less than a quarter of their time.
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
    paused_since: float | None
    on_hold: str | None
    in_quiet_time: int
    near_deadline: int
    repeated_calls: int
    carrier_changed: int

    @property
    def unfinished(self) -> int:
        """Shipments that are not settled."""
        return self.due + self.parked + self.working


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedCount:
    """Rejected events to deal with, of one reason. `merchant`: of unknown_merchant, the merchant; else ''."""

    reason: str
    merchant: str
    events: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """All counts. `last_sweep_s`: how long ago, in seconds; None before the first sweep. `now`: the server's clock.

    `processes`: those with a fresh heartbeat, by `role@host:pid`. `memory_share`: used share of `maxmemory`, None
    without a limit. `lost_orders`: orders lost before an intake read them, to deal with.
    """

    now: float
    server: str
    unsafe: tuple[str, ...]
    memory_share: float | None
    merchants: tuple[MerchantCounts, ...]
    last_sweep_s: float | None
    orders: OrdersCounts
    rejected: tuple[RejectedCount, ...]
    ignored: int
    lost_orders: int
    processes: dict[str, Any]
    breakers: tuple[Breaker, ...]
    slowed: tuple[Slowed, ...]


async def read_overview(redis: Redis, settings: Settings) -> Overview:
    """Read all counts, in a few round trips regardless of the number of shipments."""
    server, unsafe = await describe(redis, settings)
    now = await server_ms(redis)
    pipe = redis.pipeline(transaction=False)
    pipe.get(keys.LAST_SWEEP)
    pipe.get(keys.IGNORED_EVENTS)
    pipe.get(keys.LOST_ORDERS)
    swept, ignored, lost_orders = await pipe.execute()
    return Overview(
        now=now / 1000,
        server=server,
        unsafe=tuple(unsafe),
        memory_share=await _memory_share(redis),
        merchants=await _count_merchants(redis, settings, now),
        last_sweep_s=(now - int(swept)) / 1000 if swept else None,
        orders=await count_orders(redis, settings.orders_stream, now),
        rejected=await _count_rejected(redis, _kept_since(settings, now)),
        ignored=int(ignored or 0),
        lost_orders=int(lost_orders or 0),
        processes=await heartbeats(redis),
        breakers=await breakers(redis, now),
        slowed=await slowed(redis, now),
    )


def _kept_since(settings: Settings, now_ms: int) -> int:
    return now_ms - round(settings.keep_days * 86_400_000)


async def _memory_share(redis: Redis) -> float | None:
    with contextlib.suppress(NoPermissionError):
        memory = await redis.info("memory")
        if most := int(memory.get("maxmemory", 0)):
            return int(memory["used_memory"]) / most
    return None


async def _count_rejected(redis: Redis, kept_since: int) -> tuple[RejectedCount, ...]:
    members: Any = await redis.zrange(keys.REJECTED, kept_since, "+inf", byscore=True, offset=0, num=MAX_NOTED)
    counted = Counter(tuple(member.decode().split(":", 2)[:2]) for member in members)
    return tuple(
        RejectedCount(reason=reason, merchant=merchant, events=events)
        for (reason, merchant), events in sorted(counted.items())
    )


async def _noted(redis: Redis, key: str, from_ms: float | str, to_ms: float | str) -> Counter[str]:
    """The number of shipments per merchant in a sorted set of `merchant:reference`."""
    members: Any = await redis.zrange(key, from_ms, to_ms, byscore=True, offset=0, num=MAX_NOTED)
    return Counter(member.decode().partition(":")[0] for member in members)


async def _count_merchants(redis: Redis, settings: Settings, now: int) -> tuple[MerchantCounts, ...]:
    names = await known_merchants(redis, settings.merchants_dir)
    paused, on_hold = await _stops(redis, keys.PAUSED), await _stops(redis, keys.ON_HOLD)
    quiet, near = await _noted(redis, keys.QUIET_TIMES, now, "+inf"), await _noted(redis, keys.NEAR_DEADLINE, 0, now)
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.zcount(keys.schedule(name), "-inf", now)
        pipe.zcount(keys.schedule(name), f"({now}", "+inf")
        pipe.zcard(keys.working(name))
        pipe.hmget(keys.counts(name), "allocated", "repeated_calls", "carrier_changed")
        pipe.zcount(keys.failed(name), _kept_since(settings, now), "+inf")
        pipe.zrange(keys.schedule(name), 0, 0, withscores=True)
    replies = await pipe.execute()
    return tuple(
        MerchantCounts(
            merchant=name,
            paused=paused.get(name, {}).get("why"),
            paused_since=paused.get(name, {}).get("since"),
            on_hold=on_hold.get(name, {}).get("why"),
            in_quiet_time=quiet[name],
            near_deadline=near[name],
            **_by_state(replies[6 * i : 6 * i + 6], now),
        )
        for i, name in enumerate(names)
    )


async def _stops(redis: Redis, key: str) -> dict[str, dict[str, Any]]:
    found: Any = await redis.hgetall(key)
    return {name.decode(): json.loads(text) for name, text in found.items()}


def _by_state(replies: Sequence[Any], now: int) -> dict[str, Any]:
    due, parked, working, counted, failed, first = replies
    allocated, repeated_calls, carrier_changed = (int(number or 0) for number in counted)
    return {
        "due": due,
        "parked": parked,
        "working": working,
        "allocated": allocated,
        "failed": failed,
        "oldest_due_s": (now - first[0][1]) / 1000 if due else None,
        "repeated_calls": repeated_calls,
        "carrier_changed": carrier_changed,
    }
