"""The overview: health and counts, read from the ledger without changing it. Status, logs and pages use it."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict

from config.settings import Settings
from worker.ledger import keys
from worker.ledger.records import server_ms
from worker.ledger.rejected_member import parse_member
from worker.ledger.throttling import Breaker, Slowed, breakers, slowed
from worker.observability.heartbeat import Heartbeat, heartbeats
from worker.observability.merchant_counts import MAX_NOTED, MerchantCounts, count_merchants
from worker.observability.orders_lag import OrdersCounts, count_orders
from worker.redis_client.safety import describe
from worker.redis_client.store import Redis, Store

DESCRIBED = ConfigDict(use_attribute_docstrings=True)
"""For JSON Schemas: the text below an attribute describes it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedCount:
    """Rejected events to deal with, of one reason."""

    reason: str
    """Why they were rejected, as a code."""
    merchant: str
    """The merchant, if it is unknown; else ''."""
    events: int
    """Their number."""
    since: float | None = None
    """When the first of them was rejected, in seconds since the epoch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """All counts."""

    __pydantic_config__: ClassVar = DESCRIBED

    now: float
    """The server's clock, in seconds since the epoch."""
    server: str
    """Kind, version and address of the server."""
    unsafe: tuple[str, ...]
    """Settings of the server that risk shipments."""
    refuses: str | None
    """Why the server refuses writes although it responds; None if it does not."""
    memory_share: float | None
    """The used share of `maxmemory`; None without a limit."""
    merchants: tuple[MerchantCounts, ...]
    """Merchants with a file, or with any order ever, by name."""
    last_sweep_s: float | None
    """How long ago the last sweep was, in seconds; None before the first one."""
    orders: OrdersCounts
    """The lag of the orders stream."""
    rejected: tuple[RejectedCount, ...]
    """Rejected events that are to be dealt with."""
    ignored: int
    """Events of other types, of all time."""
    lost_orders: int
    """Orders that were lost before an intake read them, to be dealt with."""
    processes: dict[str, Heartbeat]
    """Processes with a fresh heartbeat, by `role@host:pid`."""
    breakers: tuple[Breaker, ...]
    """The open circuit breakers."""
    slowed: tuple[Slowed, ...]
    """Merchants with a recent 429."""


async def read_overview(store: Store, settings: Settings) -> Overview:
    """Read all counts, in a few round trips regardless of the number of shipments."""
    redis = store.redis
    server = await describe(redis, settings)
    now = await server_ms(redis)
    kept_since = settings.kept_since(now)
    pipe = redis.pipeline(transaction=False)
    pipe.get(keys.LAST_SWEEP)
    pipe.get(keys.IGNORED_EVENTS)
    pipe.get(keys.LOST_ORDERS)
    swept, ignored, lost_orders = await pipe.execute()
    return Overview(
        now=now / 1000,
        server=server.line,
        unsafe=tuple(server.unsafe),
        refuses=server.refuses,
        memory_share=server.memory_share,
        merchants=await count_merchants(store, settings.merchants_dir, now, kept_since),
        last_sweep_s=(now - int(swept)) / 1000 if swept else None,
        orders=await count_orders(redis, settings.orders_stream, now),
        rejected=await _count_rejected(redis, kept_since),
        ignored=int(ignored or 0),
        lost_orders=int(lost_orders or 0),
        processes=await heartbeats(redis),
        breakers=await breakers(redis, now),
        slowed=await slowed(redis, now),
    )


async def _count_rejected(redis: Redis, kept_since: int) -> tuple[RejectedCount, ...]:
    found: Any = await redis.zrange(
        keys.REJECTED, kept_since, "+inf", byscore=True, offset=0, num=MAX_NOTED, withscores=True
    )
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for member, at_ms in found:
        times[parse_member(member.decode())[:2]].append(at_ms / 1000)
    return tuple(
        RejectedCount(reason=reason, merchant=merchant, events=len(at), since=at[0])
        for (reason, merchant), at in sorted(times.items())
    )
