"""What can be seen of the shipments from outside: their records in the ledger and the events that went out."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from config.settings import Settings
from tasks.order import Order, read_order
from tasks.shipment import from_ledger
from worker.housekeeping import LAST_SWEEP
from worker.ledger import Ledger
from worker.orders import GROUP
from worker.store import PREFIX, Redis, ResponseError, Store

Key = tuple[str, str]
"""Merchant and reference: what a shipment is known by."""

State = Literal["unsettled", "allocated", "failed"]

_STATES: dict[str, State] = {"shipment.allocated": "allocated", "shipment.allocation_failed": "failed"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One shipment: rule and story from the ledger, and the `data` of its event once one went out."""

    key: Key
    rule: str
    why: str
    story: tuple[Mapping[str, Any], ...]
    state: State = "unsettled"
    data: Mapping[str, Any] = field(default_factory=dict)
    events: int = 0

    @property
    def service(self) -> str | None:
        """The reference of the carrier service that took it."""
        return (self.data.get("carrier") or {}).get("service_reference")

    @property
    def outcomes(self) -> tuple[str, ...]:
        """What each call for it came to."""
        return tuple(entry["outcome"] for entry in self.story)


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """An event that was put aside, and why."""

    reason: str
    error: str


class Watch:
    """Looks on; writes nothing but the orders of the story."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        """No round trip is made."""
        self._redis = redis
        self._settings = settings
        self._ledger = Ledger(Store(redis), settings)
        self._read_up_to: dict[str, str] = {}
        self._events: dict[Key, list[tuple[State, dict[str, Any]]]] = defaultdict(list)
        self.rejected: dict[str, Refusal] = {}
        self.events = 0

    async def publish(self, event: str) -> str:
        """Put an event on the orders stream; returns its id there."""
        stream_id: Any = await self._redis.xadd(self._settings.orders_stream, {"event": event})
        return str(stream_id.decode())

    async def look(self) -> None:
        """Read what came into the out streams since the last look."""
        settings = self._settings
        for stream in (settings.allocated_stream, settings.failed_stream):
            for _, fields in await self._fresh(stream):
                self._note(json.loads(fields[b"event"]))
        for _, fields in await self._fresh(settings.rejected_stream):
            refusal = Refusal(reason=fields[b"reason"].decode(), error=fields[b"error"].decode())
            self.rejected[fields[b"stream_id"].decode()] = refusal

    def _note(self, event: dict[str, Any]) -> None:
        data = event["data"]
        self._events[data["merchant"], data["shipment"]].append((_STATES[event["type"]], data))
        self.events += 1

    async def _fresh(self, stream: str, most: int = 100) -> list[tuple[str, dict[bytes, bytes]]]:
        after = self._read_up_to.get(stream, "0")
        entries: Any = await self._redis.xrange(stream, f"({after}", count=most)
        if entries:
            self._read_up_to[stream] = entries[-1][0].decode()
        return [(stream_id.decode(), fields) for stream_id, fields in entries]

    async def seen(self, key: Key) -> Seen | None:
        """A shipment as it is now; None while the ledger does not know it."""
        merchant, reference = key
        found: Any = await self._redis.hgetall(f"{PREFIX}shipment:{merchant}:{reference}")
        record = {name.decode(): value for name, value in found.items()}
        if "facts" not in record:
            return None
        facts = json.loads(record["facts"])
        story = await self._ledger.story(from_ledger(merchant, reference, record))
        seen = Seen(key=key, rule=facts["rule"], why=facts["why"], story=tuple(story))
        return self._with_event(seen)

    def _with_event(self, seen: Seen) -> Seen:
        events = self._events.get(seen.key)
        if not events:
            return seen
        state, data = events[0]
        return Seen(
            key=seen.key,
            rule=seen.rule,
            why=seen.why,
            story=seen.story,
            state=state,
            data=data,
            events=len(events),
        )

    async def further_orders(self) -> list[tuple[str, tuple[Key, ...]]]:
        """Events on the orders stream since the last call: their ids and the shipments they name."""
        entries = await self._fresh(self._settings.orders_stream, most=20)
        return [(stream_id, _keys(fields.get(b"event", b""))) for stream_id, fields in entries]

    async def taken(self, stream_id: str) -> bool:
        """Whether intake has dealt with the event and all before it."""
        for group in await self._redis.xinfo_groups(self._settings.orders_stream):
            if group["name"] == GROUP.encode():
                return group["pending"] == 0 and _order(group["last-delivered-id"].decode()) >= _order(stream_id)
        return False

    async def intake_reads(self) -> bool:
        """Whether an intake reads the orders stream."""
        try:
            return bool(await self._redis.xinfo_consumers(self._settings.orders_stream, GROUP))
        except ResponseError:  # neither stream nor group is there yet
            return False

    async def last_sweep(self) -> bytes | None:
        """When the last sweep ran, which takes a worker; None before the first."""
        at: bytes | None = await self._redis.get(LAST_SWEEP)
        return at


def _keys(event: bytes) -> tuple[Key, ...]:
    match read_order(event):
        case Order(data=data):
            return tuple((data.merchant, shipment.reference) for shipment in data.shipments)
        case _:
            return ()


def _order(stream_id: str) -> tuple[int, ...]:
    """Ids of a stream compare as numbers, not as text."""
    return tuple(int(part) for part in stream_id.split("-"))
