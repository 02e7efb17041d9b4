"""Causes of failures that are to be dealt with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from config.settings import Settings
from tasks.rules.portions import portions
from worker.ledger.failures import Failure, read_failures
from worker.ledger.operator_arguments import CausesArgs
from worker.ledger.records import known_merchants, server_ms
from worker.ledger.scripts import COUNT_CAUSES
from worker.ledger.shipment_state import EventName, events_of
from worker.redis_client.store import Store

_COUNTED_AT_ONCE = 250
"""Merchants per script, a few milliseconds of the server's time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """Shipments of one merchant that failed for one reason at one strategy.

    `oldest` and `newest` in seconds since the epoch. `example`: the newest one's reference. `message`: that of its
    event; None if it has not been read, or is no longer kept.
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
) -> list[Cause]:
    """The causes of failures, the most frequent first; optionally of one merchant, or of one reason."""
    merchants = [merchant] if merchant else await known_merchants(store.redis, settings.merchants_dir)
    args, rows = CausesArgs(settings.kept_since(await server_ms(store.redis))), list[Sequence[Any]]()
    for some in portions(merchants, _COUNTED_AT_ONCE):
        rows += await store.run(COUNT_CAUSES, [], [*args, *some])
    causes = [cause for cause in map(_cause, rows) if reason in {None, cause.reason}]
    return sorted(causes, key=lambda cause: (-cause.shipments, cause.merchant, cause.reason, cause.strategy))


def _cause(row: Sequence[Any]) -> Cause:
    merchant, cause, shipments, oldest_ms, newest_ms, example = row
    reason, _, strategy = cause.decode().partition(" ")
    return Cause(
        merchant=merchant.decode(),
        reason=reason,
        strategy=strategy,
        shipments=shipments,
        oldest=float(oldest_ms) / 1000,
        newest=float(newest_ms) / 1000,
        example=example.decode(),
    )


async def with_messages(store: Store, settings: Settings, causes: Sequence[Cause]) -> list[Cause]:
    """The causes, each with the message of its newest failure."""
    newest = await read_failures(store.redis, [(cause.merchant, cause.example) for cause in causes])
    events = await events_of(store.redis, settings.failed_stream, list(map(_event_name, newest)))
    found = {
        (failure.merchant, failure.reference): event["data"]["message"]
        for failure, event in zip(newest, events, strict=True)
        if event
    }
    return [replace(cause, message=found.get((cause.merchant, cause.example))) for cause in causes]


def _event_name(failure: Failure) -> EventName:
    return EventName(f"{failure.merchant}/{failure.reference}/failed/{failure.replays}", failure.settled_ms)


def order_of(failure: Failure) -> str:
    """The number of a failed shipment's order; '' if its record cannot be parsed."""
    try:
        return str(json.loads(failure.facts)["order"])
    except (ValueError, LookupError, TypeError):
        return ""
