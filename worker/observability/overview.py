"""The overview: health and counts, read from the ledger without changing it. Status, logs and pages use it."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from pydantic import ConfigDict

from config.settings import Settings
from tasks.rules.portions import portions
from worker.ledger import keys
from worker.ledger.operator_arguments import CountArgs
from worker.ledger.records import known_merchants, server_ms
from worker.ledger.rejected_member import parse_member
from worker.ledger.scripts import COUNT_MERCHANTS
from worker.ledger.stored_files import stored_versions
from worker.ledger.throttling import Breaker, Slowed, breakers, slowed
from worker.observability.heartbeat import Heartbeat, heartbeats
from worker.observability.orders_lag import OrdersCounts, count_orders
from worker.redis_client.safety import describe
from worker.redis_client.store import Redis, Store

_COUNTED_AT_ONCE = 250
"""Merchants per script, a few milliseconds of the server's time."""

MAX_NOTED = 100_000
"""How many shipments in their quiet time, near their deadline, or rejected events are counted by merchant."""


DESCRIBED = ConfigDict(use_attribute_docstrings=True)
"""For JSON Schemas: the text below an attribute describes it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MerchantCounts:
    """One merchant's shipments by state."""

    merchant: str
    """Its name."""
    merchant_file: str | None
    """The last valid version of its file, which processes use; None if it never was valid, or its key is not found."""
    due: int
    """Shipments that can be claimed now."""
    parked: int
    """Shipments that are scheduled for later."""
    working: int
    """Shipments that a worker owns."""
    allocated: int
    """Allocated shipments of all time."""
    failed: int
    """Failed shipments that are to be dealt with."""
    failed_since: float | None = None
    """When the first of them failed, in seconds since the epoch."""
    oldest_due_s: float | None
    """How long the first due shipment has been waiting, in seconds."""
    paused: str | None
    """Why it is paused, if it is."""
    paused_since: float | None
    """Since when, in seconds since the epoch."""
    on_hold: str | None
    """Why an operator stopped it, if one did."""
    on_hold_since: float | None = None
    """Since when, in seconds since the epoch."""
    in_quiet_time: int
    """Parked shipments in their quiet time."""
    near_deadline: int
    """Parked shipments past three quarters of the time to their deadline."""
    repeated_calls: int
    """Calls of all time that were made after an open one."""
    carrier_changed: int
    """Shipments of all time with such a call whose carrier had changed at their recheck."""

    @property
    def unfinished(self) -> int:
        """Shipments that are not settled."""
        return self.due + self.parked + self.working


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
        merchants=await _count_merchants(store, settings, now),
        last_sweep_s=(now - int(swept)) / 1000 if swept else None,
        orders=await count_orders(redis, settings.orders_stream, now),
        rejected=await _count_rejected(redis, settings.kept_since(now)),
        ignored=int(ignored or 0),
        lost_orders=int(lost_orders or 0),
        processes=await heartbeats(redis),
        breakers=await breakers(redis, now),
        slowed=await slowed(redis, now),
    )


async def _count_rejected(redis: Redis, since: int) -> tuple[RejectedCount, ...]:
    found: Any = await redis.zrange(
        keys.REJECTED, since, "+inf", byscore=True, offset=0, num=MAX_NOTED, withscores=True
    )
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for member, at_ms in found:
        times[parse_member(member.decode())[:2]].append(at_ms / 1000)
    return tuple(
        RejectedCount(reason=reason, merchant=merchant, events=len(at), since=at[0])
        for (reason, merchant), at in sorted(times.items())
    )


async def _noted(redis: Redis, key: str, from_ms: float | str, to_ms: float | str) -> Counter[str]:
    """The number of shipments per merchant in a sorted set of `merchant:reference`."""
    members: Any = await redis.zrange(key, from_ms, to_ms, byscore=True, offset=0, num=MAX_NOTED)
    return Counter(member.decode().partition(":")[0] for member in members)


async def _count_merchants(store: Store, settings: Settings, now: int) -> tuple[MerchantCounts, ...]:
    redis = store.redis
    names = await known_merchants(redis, settings.merchants_dir)
    paused, on_hold = await _stops(redis, keys.PAUSED), await _stops(redis, keys.ON_HOLD)
    versions = await stored_versions(redis)
    quiet, near = await _noted(redis, keys.QUIET_TIMES, now, "+inf"), await _noted(redis, keys.NEAR_DEADLINE, 0, now)
    args, replies = CountArgs(now, settings.kept_since(now)), list[Sequence[Any]]()
    for some in portions(names, _COUNTED_AT_ONCE):
        replies += await store.run(COUNT_MERCHANTS, [], [*args, *some])
    return tuple(
        MerchantCounts(
            merchant=name,
            merchant_file=versions.get(name),
            paused=paused.get(name, {}).get("why"),
            paused_since=paused.get(name, {}).get("since"),
            on_hold=on_hold.get(name, {}).get("why"),
            on_hold_since=_seconds(on_hold.get(name, {}).get("at")),
            in_quiet_time=quiet[name],
            near_deadline=near[name],
            **_by_state(reply, now),
        )
        for name, reply in zip(names, replies, strict=True)
    )


async def _stops(redis: Redis, key: str) -> dict[str, dict[str, Any]]:
    found: Any = await redis.hgetall(key)
    return {name.decode(): json.loads(text) for name, text in found.items()}


def _seconds(at: str | None) -> float | None:
    """RFC 3339 text in seconds since the epoch."""
    return None if at is None else datetime.fromisoformat(at).timestamp()


def _by_state(reply: Sequence[Any], now: int) -> dict[str, Any]:
    due, parked, working, failed, first_ms, failed_ms, *of_all_time = reply
    allocated, repeated_calls, carrier_changed = map(int, of_all_time)
    return {
        "due": due,
        "parked": parked,
        "working": working,
        "allocated": allocated,
        "failed": failed,
        "failed_since": float(failed_ms) / 1000 if failed else None,
        "oldest_due_s": (now - float(first_ms)) / 1000 if due else None,
        "repeated_calls": repeated_calls,
        "carrier_changed": carrier_changed,
    }
