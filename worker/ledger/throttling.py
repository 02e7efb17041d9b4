"""Open breakers and throttled merchants, for operators."""

from dataclasses import dataclass
from typing import Any

from worker.ledger import keys
from worker.redis_client.store import Redis

SLOWED_FOR_S = 60.0
"""How long after its last 429 a merchant counts as throttled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Breaker:
    """An open circuit breaker."""

    api: str
    """Host and digest of the key; the host alone after foreign responses to several keys."""
    probe_in_s: float
    """How long until one call may probe, in seconds; 0 while one does."""
    since: float
    """Since when it is open, in seconds since the epoch."""

    @property
    def host(self) -> str:
        """The host of the API."""
        return self.api.partition("#")[0]

    def concerns(self, api: str) -> bool:
        """Whether it blocks calls to this API."""
        return api == self.api or api.partition("#")[0] == self.api


@dataclass(frozen=True, kw_only=True, slots=True)
class Slowed:
    """A merchant with a recent 429."""

    merchant: str
    """Its name."""
    window: int
    """How many of its shipments may be working at present."""
    throttled_s: float
    """How long ago its last 429 was, in seconds."""


async def breakers(redis: Redis, now_ms: int) -> tuple[Breaker, ...]:
    """The open breakers."""
    names: Any = await redis.smembers(keys.BREAKERS)
    pipe = redis.pipeline(transaction=False)
    for name in sorted(names):
        pipe.hmget(keys.breaker(name.decode()), "until", "since")
    found = zip(sorted(names), await pipe.execute(), strict=True)
    return tuple(
        Breaker(
            api=name.decode()[2:],
            probe_in_s=max(0.0, (int(till) - now_ms) / 1000),
            since=int(since or now_ms) / 1000,
        )
        for name, (till, since) in found
        if till
    )


async def slowed(redis: Redis, now_ms: int) -> tuple[Slowed, ...]:
    """The merchants that were throttled in the last minute."""
    since = now_ms - SLOWED_FOR_S * 1000
    found: Any = await redis.zrange(keys.THROTTLED, since, "+inf", byscore=True, withscores=True)
    pipe = redis.pipeline(transaction=False)
    for name, _ in found:
        pipe.hget(keys.window(name.decode()), "window")
    windows = await pipe.execute()
    return tuple(
        Slowed(merchant=name.decode(), window=int(float(window or 0)), throttled_s=(now_ms - at) / 1000)
        for (name, at), window in zip(found, windows, strict=True)
    )
