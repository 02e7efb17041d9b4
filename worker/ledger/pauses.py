"""Pauses, limits, denials and splits: the ledger's state per merchant and API."""

import contextlib
import hashlib
import json
from typing import Any, get_args

from config.settings import Settings
from tasks.rules.outcome import Purpose
from tasks.work.ports import Pause
from worker.ledger import keys
from worker.ledger.arguments import PauseArgs, ProbeArgs, ResumeArgs
from worker.ledger.scripts import PAUSE, PROBE, RESUME
from worker.redis_client.store import TRANSIENT_ERRORS, Store

DENIED_S = 10
"""How long a 403 of one shipment is remembered, to distinguish it from one of the key."""


RESUMED_S = 600
"""How long the files and keys that resumed a merchant are remembered."""


NO_KEY = "its API key cannot be found"
NO_FILE = "it has no valid merchant file"
"""Why a merchant is paused without a response of its API."""


class Pauses:
    """The part of the ledger for merchants and APIs."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """No round trip is made."""
        self._store = store
        self._settings = settings
        self._lease_ms = round(settings.lease_seconds * 1000)

    async def set_limits(self, merchant: str, in_flight: int, per_second: float) -> None:
        """Write a merchant's limits; 0 means none."""
        key = keys.window(merchant)
        if in_flight or per_second:
            await self._store.redis.hset(key, mapping={"in_flight": in_flight, "per_second": per_second})
        else:
            await self._store.redis.hdel(key, "in_flight", "per_second")

    async def pause(self, merchant: str, pause: Pause, digest: str, probe: str = "") -> bool:
        """Pause a merchant; False when it was paused already. `probe`: the shipment whose probe was refused."""
        wait_ms = round(pause.retry_after_s * 1000)
        args = PauseArgs(merchant, pause.why, digest, pause.purpose, wait_ms, probe, pause.refused, pause.strategy)
        patience_s = self._settings.lease_seconds
        return bool(await self._store.retry(lambda: self._store.run(PAUSE, [], args), patience_s))

    async def probe(self, merchant: str) -> str:
        """Let one shipment of a paused merchant probe, if it is time; its reference, or ''."""
        found: bytes = await self._store.run(PROBE, [], ProbeArgs(merchant, self._lease_ms))
        return found.decode()

    async def paused(self) -> dict[str, dict[str, Any]]:
        """The paused merchants: why, since when, and the digest of file and key at that time."""
        found: Any = await self._store.redis.hgetall(keys.PAUSED)
        return {merchant.decode(): json.loads(text) for merchant, text in found.items()}

    async def resume(self, merchant: str) -> int:
        """Lift a pause and make the merchant's parked shipments due; returns how many."""
        total = 0
        while moved := int(await self._store.run(RESUME, [], ResumeArgs(merchant, 1000))):
            total += moved
        return total

    async def resumed_as(self, merchant: str, digest: str) -> bool:
        """Note that file and key of this digest resume the merchant; false if they did so lately.

        Machines may have different files or keys for a while: each of them resumes a merchant once.
        """
        key = keys.resumed(merchant)
        if not await self._store.redis.sadd(key, digest):
            return False
        await self._store.redis.expire(key, RESUMED_S)
        return True

    async def others_can(self, merchant: str) -> bool:
        """Whether another process resumed the merchant lately: it has a file and a key."""
        found = await self._store.retry(
            lambda: self._store.redis.exists(keys.resumed(merchant)), self._settings.lease_seconds
        )
        return bool(found)

    async def last_good(self, api: str, purpose: Purpose) -> float:
        """When the API last gave a good response for this purpose, in seconds since the epoch; 0 if never.

        For read-backs any purpose counts: when everything works there are hardly any, and a key that may allocate may
        read.
        """
        key, patience_s = keys.call_stats(api), self._settings.lease_seconds
        kinds = get_args(Purpose) if purpose == "read" else (purpose,)
        names = [f"{kind}_at" for kind in kinds]
        found: Any = await self._store.retry(lambda: self._store.redis.hmget(key, names), patience_s)
        return max(int(at or 0) for at in found) / 1000

    async def first_denial(self, api: str, reference: str) -> bool:
        """Whether no other shipment got a 403 from this API in the last seconds; records that this one did."""
        key = keys.denied(api)
        patience_s = self._settings.lease_seconds
        await self._store.retry(lambda: self._store.redis.set(key, reference, nx=True, ex=DENIED_S), patience_s)
        first = await self._store.retry(lambda: self._store.redis.get(key), patience_s)
        return bool(first == reference.encode())

    async def split(self, merchant: str, strategy: str, lease_token: str) -> bool:
        """Whether this lease may split a refused bulk call now: one at a time per merchant and step."""
        key = _split_key(merchant, strategy)
        patience_s = self._settings.lease_seconds
        got = await self._store.retry(
            lambda: self._store.redis.set(key, lease_token, nx=True, px=self._lease_ms), patience_s
        )
        if got:
            return True
        holder = await self._store.retry(lambda: self._store.redis.get(key), patience_s)
        if holder != lease_token.encode():
            return False
        await self._store.retry(lambda: self._store.redis.pexpire(key, self._lease_ms), patience_s)
        return True

    async def split_over(self, merchant: str, strategy: str, lease_token: str) -> None:
        """Let another lease split. If this is lost, the key expires after a lease."""
        with contextlib.suppress(*TRANSIENT_ERRORS):
            key = _split_key(merchant, strategy)
            if await self._store.redis.get(key) == lease_token.encode():
                await self._store.redis.delete(key)


def _split_key(merchant: str, strategy: str) -> str:
    return keys.split(merchant, hashlib.sha256(strategy.encode()).hexdigest()[:12])
