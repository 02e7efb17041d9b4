"""The counts of each merchant: its shipments by state, its stops and the version of its file."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks.rules.portions import portions
from worker.ledger import keys
from worker.ledger.operator_arguments import CountArgs
from worker.ledger.records import known_merchants
from worker.ledger.scripts import COUNT_MERCHANTS
from worker.ledger.stored_files import stored_versions
from worker.redis_client.store import Redis, Store

_COUNTED_AT_ONCE = 250
"""Merchants per script, a few milliseconds of the server's time."""

MAX_NOTED = 100_000
"""How many shipments in their quiet time, near their deadline, or rejected events are counted by merchant."""


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
    window: int
    """How many of its shipments may be working at present: fewer after a 429, more after good responses."""
    limit_in_flight: int
    """How many calls its file allows at once, over all workers; 0 without a limit."""
    limit_per_second: float
    """How many calls its file allows per second, over all workers; 0 without a limit."""

    @property
    def unfinished(self) -> int:
        """Shipments that are not settled."""
        return self.due + self.parked + self.working


async def count_merchants(store: Store, folder: Path, now: int, kept_since: int) -> tuple[MerchantCounts, ...]:
    """Count the shipments of each merchant with a file in `folder`, or with any order ever, by name.

    `now`: the server's clock; failed shipments older than `kept_since` are not counted. Both in milliseconds.
    """
    redis = store.redis
    names = await known_merchants(redis, folder)
    paused, on_hold = await _stops(redis, keys.PAUSED), await _stops(redis, keys.ON_HOLD)
    versions = await stored_versions(redis)
    quiet, near = await _noted(redis, keys.QUIET_TIMES, now, "+inf"), await _noted(redis, keys.NEAR_DEADLINE, 0, now)
    args, replies = CountArgs(now, kept_since), list[Sequence[Any]]()
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


async def _noted(redis: Redis, key: str, from_ms: float | str, to_ms: float | str) -> Counter[str]:
    """The number of shipments per merchant in a sorted set of `merchant:reference`."""
    members: Any = await redis.zrange(key, from_ms, to_ms, byscore=True, offset=0, num=MAX_NOTED)
    return Counter(member.decode().partition(":")[0] for member in members)


async def _stops(redis: Redis, key: str) -> dict[str, dict[str, Any]]:
    found: Any = await redis.hgetall(key)
    return {name.decode(): json.loads(text) for name, text in found.items()}


def _seconds(at: str | None) -> float | None:
    """RFC 3339 text in seconds since the epoch."""
    return None if at is None else datetime.fromisoformat(at).timestamp()


def _by_state(reply: Sequence[Any], now: int) -> dict[str, Any]:
    due, parked, working, failed, first_ms, failed_ms, *of_all_time, window, in_flight, per_second = reply
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
        "window": int(float(window)),
        "limit_in_flight": int(in_flight),
        "limit_per_second": float(per_second),
    }
