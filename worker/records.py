"""What the ledger holds about single shipments, for a person to read; nothing here changes anything."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.settings import Settings
from tasks.shipment import KEPT_FIRST, KEPT_LAST, Progress, Shipment, from_ledger, slot
from worker.store import PREFIX, Redis

_READ_AT_ONCE = 500
_CLOCK_SLACK_MS = 20
"""Record and event are written by one script, whose clock and whose stream ids may differ by so much."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """In the schedule, to be handed out at `due` (seconds since the epoch)."""

    due: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Working:
    """Handed out, until `lease_end` (seconds since the epoch).

    `phase`: `q` in a message, `r` in a worker's hands, `c` the same with a call that may be on its way.
    """

    lease_end: float
    phase: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """Finished. `event`: the one that went out, or None when its stream no longer has it."""

    state: str
    reason: str
    at: float
    event: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Nowhere:
    """Neither finished nor in the schedule, which should not be."""


Whereabouts = Waiting | Working | Settled | Nowhere


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """All there is about one shipment. `story`: the kept entries by their number, from 1. `now`: the server's clock."""

    shipment: Shipment
    why: str
    facts: dict[str, Any]
    story: tuple[tuple[int, dict[str, Any]], ...]
    where: Whereabouts
    paused: str | None
    now: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A failed shipment. `settled_ms` tells this failure of the shipment from an earlier or later one."""

    merchant: str
    reference: str
    reason: str
    asked: str
    settled_ms: int
    replays: int
    facts: str
    progress: Progress


async def server_ms(redis: Redis) -> int:
    """The server's clock in milliseconds since the epoch."""
    seconds, micros = await redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


async def known_merchants(redis: Redis, folder: Path) -> list[str]:
    """Merchants that have a file, good or not, or ever had an order."""
    known: Any = await redis.smembers(f"{PREFIX}known")
    return sorted({*_file_names(folder), *(name.decode() for name in known)})


def _file_names(folder: Path) -> Iterable[str]:
    return (path.stem for path in folder.glob("*.toml"))


async def merchants_of(redis: Redis, reference: str, merchants: Iterable[str]) -> list[str]:
    """Which of the merchants have a shipment of this reference."""
    names = list(merchants)
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.exists(_key(name, reference))
    return [name for name, exists in zip(names, await pipe.execute(), strict=True) if exists]


def _key(merchant: str, reference: str) -> str:
    return f"{PREFIX}shipment:{merchant}:{reference}"


async def read_record(redis: Redis, settings: Settings, merchant: str, reference: str) -> Record | None:
    """Everything about one shipment at one moment, or None when the ledger does not know it."""
    pipe = redis.pipeline(transaction=True)
    pipe.time()
    pipe.hgetall(_key(merchant, reference))
    pipe.zscore(f"{PREFIX}waiting:{merchant}", reference)
    pipe.zscore(f"{PREFIX}working:{merchant}", reference)
    pipe.hget(f"{PREFIX}tokens:{merchant}", reference)
    pipe.hget(f"{PREFIX}paused", merchant)
    (seconds, micros), found, due, lease_end, token, paused = await pipe.execute()
    if not found:
        return None
    fields = {name.decode(): value for name, value in found.items()}
    shipment = from_ledger(merchant, reference, fields)
    fixed = json.loads(fields["facts"])
    where = _unfinished(due, lease_end, token) or await _settled(redis, settings, shipment, fields)
    return Record(
        shipment=shipment,
        why=fixed["why"],
        facts=fixed["facts"],
        story=tuple(_story(shipment.progress.entries, fields)),
        where=where,
        paused=json.loads(paused)["why"] if paused else None,
        now=seconds + micros / 1e6,
    )


def _unfinished(due: float | None, lease_end: float | None, token: bytes | None) -> Waiting | Working | None:
    if lease_end is not None:
        return Working(lease_end=lease_end / 1000, phase=(token or b"q").decode()[0])
    return None if due is None else Waiting(due=due / 1000)


async def _settled(redis: Redis, settings: Settings, shipment: Shipment, fields: dict[str, bytes]) -> Settled | Nowhere:
    if "state" not in fields:
        return Nowhere()
    state, settled_ms = fields["state"].decode(), int(fields["settled"])
    stream, ending = settings.allocated_stream, state
    if state == "failed":
        stream, ending = settings.failed_stream, f"failed/{shipment.replays}"
    event = await event_of(redis, stream, f"{shipment.merchant}/{shipment.reference}/{ending}", settled_ms)
    return Settled(state=state, reason=fields.get("reason", b"").decode(), at=settled_ms / 1000, event=event)


async def event_of(redis: Redis, stream: str, event_id: str, settled_ms: int) -> dict[str, Any] | None:
    """The event that told of a settled shipment, as long as its stream has it.

    A stream has no index of event ids, but the entry was written at the moment at which the shipment was settled.
    """
    entries: Any = await redis.xrange(stream, min=str(settled_ms), max=str(settled_ms + _CLOCK_SLACK_MS), count=2000)
    for _, fields in entries:
        event: dict[str, Any] = json.loads(fields[b"event"])
        if event["id"] == event_id:
            return event
    return None


def _story(entries: int, fields: dict[str, bytes]) -> Iterable[tuple[int, dict[str, Any]]]:
    for number in range(1, entries + 1):
        if number <= KEPT_FIRST or number > entries - KEPT_LAST:
            entry = fields.get(slot(number))
            if entry:
                yield number, json.loads(entry)


async def failures(
    redis: Redis, settings: Settings, merchant: str, *, reason: str | None = None, most: int | None = None
) -> list[Failure]:
    """A merchant's failed shipments that are still kept, oldest first; of one reason only, or not more than `most`."""
    kept_since = await server_ms(redis) - round(settings.keep_days * 86_400_000)
    references: Any = await redis.zrangebyscore(f"{PREFIX}failed:{merchant}", kept_since, "+inf")
    found: list[Failure] = []
    for start in range(0, len(references), _READ_AT_ONCE):
        page = await read_failures(redis, merchant, references[start : start + _READ_AT_ONCE])
        found += [failure for failure in page if reason in {None, failure.reason}]
        if most is not None and len(found) >= most:
            break
    return found[:most]


_OF_A_FAILURE = ("state", "reason", "asks", "settled", "replays", "facts", "progress")


async def read_failures(redis: Redis, merchant: str, references: Sequence[bytes]) -> list[Failure]:
    """Those of the shipments that have failed."""
    pipe = redis.pipeline(transaction=False)
    for reference in references:
        pipe.hmget(_key(merchant, reference.decode()), _OF_A_FAILURE)
    answers = await pipe.execute()
    return [
        _failure(merchant, reference.decode(), *rest)
        for reference, (state, *rest) in zip(references, answers, strict=True)
        if state == b"failed"
    ]


def _failure(merchant: str, reference: str, *fields: bytes | None) -> Failure:
    reason, asked, settled, replays, facts, progress = fields
    return Failure(
        merchant=merchant,
        reference=reference,
        reason=(reason or b"").decode(),
        asked=(asked or b"").decode(),
        settled_ms=int(settled or 0),
        replays=int(replays or 0),
        facts=(facts or b"{}").decode(),
        progress=Progress(**json.loads(progress or b"{}")),
    )
