"""Reads records of single shipments, for people; nothing is changed."""

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from config.merchant_files.merchant_file import NAME
from config.settings import Settings
from tasks.rules.shipment import KEPT_FIRST, KEPT_LAST, Shipment, entry_field
from tasks.rules.unreadable import UnreadableRecord, parse_shipment, stand_in
from worker.ledger import keys
from worker.ledger.shipment_state import (
    Missing,
    Scheduled,
    Settled,
    ShipmentState,
    Working,
    settled,
    unfinished,
)
from worker.redis_client.store import Redis

__all__ = [
    "Missing",
    "Record",
    "Scheduled",
    "Settled",
    "ShipmentState",
    "Working",
    "known_merchants",
    "merchants_of",
    "read_record",
    "server_ms",
    "unfinished_shipments",
]

_READ_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A record with its state. `history`: the stored entries by their number, from 1. `now`: the server's clock.

    `unreadable`: why this version cannot parse it, if so; then the shipment is a stand-in without steps, whose order,
    rule and api are '', `why` and `facts` are empty, and the history has the entries that can be parsed.
    `paused`, `on_hold`: why the merchant is stopped. `cancelled`, `dismissed`: by whom the shipment was, and why.
    """

    shipment: Shipment
    why: str
    facts: dict[str, Any]
    history: tuple[tuple[int, dict[str, Any]], ...]
    where: ShipmentState
    paused: str | None
    now: float
    unreadable: str = ""
    on_hold: str | None = None
    cancelled: str | None = None
    dismissed: str | None = None


async def server_ms(redis: Redis) -> int:
    """The server's clock in milliseconds since the epoch."""
    seconds, micros = await redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


async def known_merchants(redis: Redis, folder: Path) -> list[str]:
    """Merchants with a file, valid or not, or with any order ever."""
    known: Any = await redis.smembers(keys.KNOWN_MERCHANTS)
    return sorted({*_file_names(folder), *(name.decode() for name in known)})


def _file_names(folder: Path) -> Iterable[str]:
    return (path.stem for path in folder.glob("*.toml") if NAME.fullmatch(path.stem))


async def unfinished_shipments(redis: Redis, merchant: str, most: int) -> list[tuple[str, Scheduled | Working]]:
    """References and states of shipments that are not settled: `most` working ones, then as many by due time."""
    pipe = redis.pipeline(transaction=False)
    pipe.zrange(keys.working(merchant), 0, most - 1, withscores=True)
    pipe.zrange(keys.schedule(merchant), 0, most - 1, withscores=True)
    working, scheduled = await pipe.execute()
    return [
        *((reference.decode(), Working(lease_end=end / 1000, phase="", called_at=None)) for reference, end in working),
        *((reference.decode(), Scheduled(due=due / 1000)) for reference, due in scheduled),
    ]


async def merchants_of(redis: Redis, reference: str, merchants: Iterable[str]) -> list[str]:
    """Which of the merchants have a shipment of this reference."""
    names = list(merchants)
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.exists(_key(name, reference))
    return [name for name, exists in zip(names, await pipe.execute(), strict=True) if exists]


def _key(merchant: str, reference: str) -> str:
    return keys.record(merchant, reference)


async def read_record(redis: Redis, settings: Settings, merchant: str, reference: str) -> Record | None:
    """The record and state of one shipment, read atomically; None when the ledger has no record."""
    pipe = redis.pipeline(transaction=True)
    pipe.time()
    pipe.hgetall(_key(merchant, reference))
    pipe.zscore(keys.schedule(merchant), reference)
    pipe.zscore(keys.working(merchant), reference)
    pipe.hget(keys.lease_tokens(merchant), reference)
    pipe.hget(keys.PAUSED, merchant)
    pipe.hget(keys.ON_HOLD, merchant)
    pipe.hget(keys.CANCELLED, f"{merchant}:{reference}")
    (seconds, micros), found, due, lease_end, token, paused, held, cancelled = await pipe.execute()
    if not found:
        return None
    fields = {name.decode(): value for name, value in found.items()}
    where = unfinished(due, lease_end, token) or await settled(redis, settings, (merchant, reference), fields)
    return replace(
        _record(merchant, reference, fields),
        where=where,
        paused=json.loads(paused)["why"] if paused else None,
        now=seconds + micros / 1e6,
        on_hold=json.loads(held)["why"] if held else None,
        cancelled=_by(cancelled),
        dismissed=_by(fields.get("dismissed")),
    )


def _by(order: bytes | None) -> str | None:
    """Who did something, when and why."""
    if not order:
        return None
    stated = json.loads(order)
    return f"by {stated['by']} at {stated['at']}: {stated['why']}"


def _record(merchant: str, reference: str, fields: dict[str, bytes]) -> Record:
    """The content of the record."""
    shipment = parse_shipment(merchant, reference, fields)
    rest: dict[str, Any] = {"where": Missing(), "paused": None, "now": 0.0}
    if isinstance(shipment, UnreadableRecord):
        stranger = stand_in(shipment)
        history = tuple(_history(KEPT_FIRST, fields))
        return Record(shipment=stranger, why="", facts={}, history=history, unreadable=shipment.error, **rest)
    fixed = json.loads(fields["intake"])
    history = tuple(_history(shipment.progress.entries, fields))
    return Record(shipment=shipment, why=fixed.get("why", ""), facts=fixed.get("facts", {}), history=history, **rest)


def _history(entries: int, fields: dict[str, bytes]) -> Iterable[tuple[int, dict[str, Any]]]:
    for number in range(1, entries + 1):
        if number <= KEPT_FIRST or number > entries - KEPT_LAST:
            # Entries of a newer version may have another form.
            with contextlib.suppress(ValueError):
                yield number, json.loads(fields.get(entry_field(number), b""))
