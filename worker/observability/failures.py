"""Causes of failures that are to be dealt with."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from config.settings import Settings
from tasks.rules.portions import portions
from worker.ledger import keys
from worker.ledger.failures import Failure, read_failures
from worker.ledger.operator_arguments import CausesArgs
from worker.ledger.records import known_merchants, server_ms
from worker.ledger.scripts import COUNT_CAUSES
from worker.ledger.shipment_state import EventName, events_of
from worker.redis_client.store import Redis, Store

_COUNTED_AT_ONCE = 250
"""Merchants per script, a few milliseconds of the server's time."""

_READ_AT_ONCE = 500


class CauseCount(NamedTuple):
    """How many shipments of one merchant failed for one reason at one strategy."""

    merchant: str
    reason: str
    strategy: str
    shipments: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """Shipments of one merchant that failed for one reason at one strategy.

    `oldest` and `newest` in seconds since the epoch. `example`: the newest one's reference. `message`: that of its
    event; None if it is no longer kept.
    """

    merchant: str
    reason: str
    strategy: str
    shipments: int
    oldest: float
    newest: float
    example: str
    message: str | None = None


async def read_causes(
    store: Store, settings: Settings, merchant: str | None = None, reason: str | None = None
) -> list[CauseCount]:
    """The causes of failures, the most frequent first; optionally of one merchant, or of one reason."""
    merchants = [merchant] if merchant else await known_merchants(store.redis, settings.merchants_dir)
    args, replies = CausesArgs(settings.kept_since(await server_ms(store.redis))), list[Sequence[Any]]()
    for some in portions(merchants, _COUNTED_AT_ONCE):
        replies += await store.run(COUNT_CAUSES, [], [*args, *some])
    counts = [each for name, reply in zip(merchants, replies, strict=True) for each in _counts(name, reply)]
    chosen = [each for each in counts if reason in {None, each.reason}]
    return sorted(sorted(chosen), key=lambda each: -each.shipments)


def _counts(merchant: str, reply: Sequence[Any]) -> Iterator[CauseCount]:
    for cause, shipments in zip(reply[::2], reply[1::2], strict=True):
        reason, _, strategy = cause.decode().partition(" ")
        yield CauseCount(merchant, reason, strategy, shipments)


async def with_messages(store: Store, settings: Settings, counts: Sequence[CauseCount]) -> list[Cause]:
    """The causes with their oldest and newest failure, and its message; without those dealt with in the meantime."""
    causes = [cause for some in portions(counts, _READ_AT_ONCE) for cause in await _read(store.redis, settings, some)]
    newest = await read_failures(store.redis, [(cause.merchant, cause.example) for cause in causes])
    events = await events_of(store.redis, settings.failed_stream, list(map(_event_name, newest)))
    found = {
        (failure.merchant, failure.reference): event["data"]["message"]
        for failure, event in zip(newest, events, strict=True)
        if event
    }
    return [replace(cause, message=found.get((cause.merchant, cause.example))) for cause in causes]


async def _read(redis: Redis, settings: Settings, counts: Sequence[CauseCount]) -> list[Cause]:
    since = settings.kept_since(await server_ms(redis))
    pipe = redis.pipeline(transaction=False)
    for each in counts:
        key = keys.failed_cause(each.merchant, f"{each.reason} {each.strategy}")
        pipe.zrange(key, since, "+inf", byscore=True, offset=0, num=1, withscores=True)
        pipe.zrange(key, -1, -1, withscores=True)
    replies: Any = await pipe.execute()
    return [
        Cause(**each._asdict(), oldest=oldest[0][1] / 1000, newest=newest[0][1] / 1000, example=newest[0][0].decode())
        for each, oldest, newest in zip(counts, replies[::2], replies[1::2], strict=True)
        if oldest and newest
    ]


def _event_name(failure: Failure) -> EventName:
    return EventName(f"{failure.merchant}/{failure.reference}/failed/{failure.replays}", failure.settled_ms)


def order_of(failure: Failure) -> str:
    """The number of a failed shipment's order; '' if its record cannot be parsed."""
    try:
        return str(json.loads(failure.facts)["order"])
    except (ValueError, LookupError, TypeError):
        return ""
