"""What merchants did in the last hour, from the counters that the scripts keep by minute and by ten minutes."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from worker.ledger import keys
from worker.redis_client.store import Redis

MINUTES = 60
SLOTS = 6

_MINUTE_MS, _SLOT_MS = 60_000, 600_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Activity:
    """One merchant's last hour: orders by minute, the present one last; the other figures in slots of ten minutes."""

    orders: tuple[int, ...]
    """Accepted orders by minute."""
    allocated: int
    """Allocated shipments."""
    mean_allocate_s: float | None
    """Mean time from an order's event until its shipment was allocated, in seconds; None without any."""
    fell_back_share: float | None
    """Share of them that needed a fallback step."""
    unknown_share: float | None
    """Share of calls whose outcome was unknown; None without any."""


class ActivityReader:
    """Reads the last hour; minutes and slots that are over are read once."""

    def __init__(self, redis: Redis) -> None:
        """Nothing is read yet."""
        self._redis = redis
        self._over: dict[str, dict[str, int]] = {}

    async def read(self, now_ms: int) -> dict[str, Activity]:
        """The activity by merchant, of those that had any."""
        minute, slot = now_ms // _MINUTE_MS, now_ms // _SLOT_MS
        minutes = [keys.orders_by_minute(each) for each in range(minute - MINUTES + 1, minute + 1)]
        slots = [keys.activity(each) for each in range(slot - SLOTS + 1, slot + 1)]
        found = await self._hashes([*minutes, *slots])
        # The previous ones may still grow: a script may have started before they ended.
        settled = [*minutes[:-2], *slots[:-2]]
        self._over = {key: found[key] for key in settled}
        return dict(_activities([found[key] for key in minutes], [found[key] for key in slots]))

    async def _hashes(self, names: list[str]) -> dict[str, dict[str, int]]:
        missing = [name for name in names if name not in self._over]
        pipe = self._redis.pipeline(transaction=False)
        for name in missing:
            pipe.hgetall(name)
        replies: Any = await pipe.execute()
        read = {
            name: {field.decode(): int(number) for field, number in reply.items()}
            for name, reply in zip(missing, replies, strict=True)
        }
        return {name: read[name] if name in read else self._over[name] for name in names}


def _activities(minutes: list[dict[str, int]], slots: list[dict[str, int]]) -> Iterator[tuple[str, Activity]]:
    totals: Counter[str] = Counter()
    for slot in slots:
        totals.update(slot)
    names = {name for minute in minutes for name in minute} | {field.partition(":")[2] for field in totals}
    for name in sorted(names):
        yield name, _activity(tuple(minute.get(name, 0) for minute in minutes), name, totals)


def _activity(orders: tuple[int, ...], name: str, totals: Mapping[str, int]) -> Activity:
    allocated, calls = totals[f"allocated:{name}"], totals[f"calls:{name}"]
    return Activity(
        orders=orders,
        allocated=allocated,
        mean_allocate_s=totals[f"allocate_ms:{name}"] / allocated / 1000 if allocated else None,
        fell_back_share=totals[f"fell_back:{name}"] / allocated if allocated else None,
        unknown_share=totals[f"unknown:{name}"] / calls if calls else None,
    )
