"""Observes shipments from outside: their records and their events."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from config.settings import Settings
from tasks.rules.order import Order, parse_order
from worker.ledger import keys
from worker.ledger.records import Record, Settled, read_record
from worker.redis_client.store import Redis, ResponseError
from worker.streams.orders import GROUP

Key = tuple[str, str]
"""Merchant and reference, which identify a shipment."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One shipment: its record, and the number of its events."""

    key: Key
    record: Record
    events: int

    @property
    def state(self) -> Literal["unsettled", "allocated", "failed"]:
        """Its state, if it is settled."""
        match self.record.where:
            case Settled(state="allocated" | "failed" as state):
                return state
            case _:
                return "unsettled"

    @property
    def data(self) -> Mapping[str, Any]:
        """The `data` of its event; empty before there is one."""
        match self.record.where:
            case Settled(event=dict(event)):
                data: dict[str, Any] = event["data"]
                return data
            case _:
                return {}

    @property
    def carrier(self) -> Mapping[str, Any]:
        """The carrier and its service, as far as the API named them."""
        return self.data.get("carrier") or {}

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The outcomes of its calls."""
        return tuple(entry["outcome"] for _, entry in self.record.history)


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A rejected event, and why."""

    reason: str
    error: str


class Watch:
    """Observes; writes only the demo's orders."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        """No round trip is made."""
        self._redis = redis
        self._settings = settings
        self._read_up_to: dict[str, str] = {}
        self._events: Counter[Key] = Counter()
        self._sweeps: set[bytes] = set()
        self.rejected: dict[str, Refusal] = {}

    async def publish(self, event: str) -> str:
        """Put an event on the orders stream; returns its id there."""
        stream_id: Any = await self._redis.xadd(self._settings.orders_stream, {"event": event})
        # Further orders do not include our own.
        self._read_up_to[self._settings.orders_stream] = stream_id.decode()
        return str(stream_id.decode())

    async def look(self) -> None:
        """Read new entries of the output streams."""
        settings = self._settings
        for stream in (settings.allocated_stream, settings.failed_stream):
            for _, fields in await self._fresh(stream):
                data = json.loads(fields[b"event"])["data"]
                self._events[data["merchant"], data["shipment"]] += 1
        for _, fields in await self._fresh(settings.rejected_stream):
            refusal = Refusal(reason=fields[b"reason"].decode(), error=fields[b"error"].decode())
            self.rejected[fields[b"stream_id"].decode()] = refusal

    async def _fresh(self, stream: str, most: int = 100) -> list[tuple[str, dict[bytes, bytes]]]:
        after = self._read_up_to.get(stream, "0")
        entries: Any = await self._redis.xrange(stream, f"({after}", count=most)
        if entries:
            self._read_up_to[stream] = entries[-1][0].decode()
        return [(stream_id.decode(), fields) for stream_id, fields in entries]

    async def seen(self, key: Key) -> Seen | None:
        """A shipment as it is now; None before it is in the ledger."""
        record = await read_record(self._redis, self._settings, *key)
        return Seen(key=key, record=record, events=self._events[key]) if record else None

    async def further_orders(self) -> list[tuple[str, tuple[Key, ...]]]:
        """Events on the orders stream since the last call or publication: their ids, and the shipments they name."""
        entries = await self._fresh(self._settings.orders_stream, most=20)
        return [(stream_id, _keys(fields.get(b"event", b""))) for stream_id, fields in entries]

    async def taken(self, stream_id: str) -> bool:
        """Whether intake has acknowledged the event and all before it."""
        for group in await self._redis.xinfo_groups(self._settings.orders_stream):
            if group["name"] == GROUP.encode():
                return group["pending"] == 0 and _order(group["last-delivered-id"].decode()) >= _order(stream_id)
        return False

    async def intake_reads(self) -> bool:
        """Whether an intake reads the orders stream."""
        try:
            return bool(await self._redis.xinfo_consumers(self._settings.orders_stream, GROUP))
        except ResponseError:  # neither stream nor group exists yet
            return False

    async def sweeps(self) -> int:
        """The number of observed sweeps, which need a worker."""
        at: Any = await self._redis.get(keys.LAST_SWEEP)
        self._sweeps |= {at} - {None}
        return len(self._sweeps)


def _keys(event: bytes) -> tuple[Key, ...]:
    match parse_order(event):
        case Order(data=data):
            return tuple((data.merchant, shipment.reference) for shipment in data.shipments)
        case _:
            return ()


def _order(stream_id: str) -> tuple[int, ...]:
    """Ids of a stream compare as numbers, not as text."""
    return tuple(int(part) for part in stream_id.split("-"))
