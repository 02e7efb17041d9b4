"""Rejected events that are to be dealt with, and publishing them again."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

from config.settings import Settings
from tasks.rules.order import IgnoredEvent, Order, Rejection, RejectReason, parse_order
from tasks.rules.portions import portions
from worker.ledger import keys
from worker.ledger.operator_actions import record_action
from worker.ledger.records import server_ms
from worker.ledger.rejected_member import parse_member
from worker.ledger.scripts import REQUEUE_REJECTED
from worker.ledger.stored_files import usable_files
from worker.ledger.stream_arguments import RequeueRejectedRow
from worker.redis_client.store import Redis, Store
from worker.streams.publishing import RejectedEvent, rejected_events

_AT_ONCE = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenRejection:
    """A rejected event to deal with. `member`: of the ledger's sorted set. `at`: in seconds since the epoch."""

    member: str
    at: float
    rejected: RejectedEvent

    @property
    def merchant(self) -> str:
        """The merchant that the event names, if its reason is unknown_merchant; else ''."""
        return parse_member(self.member)[1]


async def open_members(redis: Redis, settings: Settings) -> dict[str, tuple[str, float]]:
    """The rejected events to deal with, by their entry in the orders stream: member and time."""
    since = settings.kept_since(await server_ms(redis))
    found: Any = await redis.zrange(keys.REJECTED, since, "+inf", byscore=True, withscores=True)
    return {parse_member(member.decode())[2]: (member.decode(), score / 1000) for member, score in found}


async def open_rejections(
    store: Store, settings: Settings, reason: str | None = None, until_ms: int | None = None
) -> list[OpenRejection]:
    """The rejected events to deal with, oldest first; optionally of one reason, or rejected until a time."""
    members, found = await open_members(store.redis, settings), []
    if members:
        async for rejected in rejected_events(store.redis, settings.rejected_stream):
            if rejected.stream_id in members and reason in {None, rejected.reason}:
                member, at = members.pop(rejected.stream_id)
                found.append(OpenRejection(member=member, at=at, rejected=rejected))
            if not members:
                break
    return [each for each in found[::-1] if until_ms is None or each.at * 1000 <= until_ms]


@dataclass(frozen=True, kw_only=True, slots=True)
class RequeueOrder:
    """An operator's order to publish rejected events again. `rate`: events per second. `subject`: for the audit log."""

    rate: float
    by: str
    subject: str = "rejected events"


async def requeue_rejected(
    store: Store,
    stream: str,
    rows: Sequence[RequeueRejectedRow],
    order: RequeueOrder,
    on_progress: Callable[[int], None] = lambda _: None,
) -> list[str]:
    """Publish rejected events again, mark them as dealt with, and write it to the audit log.

    Returns the ids of the new entries; an event that was dealt with meanwhile is not published.
    """
    ids = await _publish_again(store, stream, rows, order.rate, on_progress)
    if rows:
        await record_action(store.redis, "replay", order.by, order.subject, count=len(ids))
    return ids


async def _publish_again(
    store: Store, stream: str, rows: Sequence[RequeueRejectedRow], rate: float, on_progress: Callable[[int], None]
) -> list[str]:
    began, done, ids = time.monotonic(), 0, list[str]()
    for chunk in portions(rows, max(1, min(_AT_ONCE, round(rate / 10)))):
        await asyncio.sleep(max(0.0, began + done / rate - time.monotonic()))
        args = [value for row in chunk for value in row]
        ids += [stream_id.decode() for stream_id in await store.run(REQUEUE_REJECTED, [stream], args) if stream_id]
        done += len(chunk)
        on_progress(done)
    return ids


@dataclass(frozen=True, kw_only=True, slots=True)
class AcceptableRejections:
    """Rejected events that would be accepted now, oldest first, and how many would not, by reason."""

    good: tuple[RequeueRejectedRow, ...]
    wrong: Counter[str]


async def acceptable_rejections(
    store: Store, settings: Settings, reason: str | None, stream_id: str | None = None, until_ms: int | None = None
) -> AcceptableRejections:
    """Which rejected events would be accepted now; optionally of one reason, of this entry, or until a time."""
    merchants = await usable_files(store.redis, settings)
    good, wrong = list[RequeueRejectedRow](), Counter[str]()
    for each in await open_rejections(store, settings, reason, until_ms):
        if stream_id not in {None, each.rejected.stream_id}:
            continue
        # Only a part of an event that was too large is kept.
        if each.rejected.reason == "event_too_large":
            continue
        if why := _still_wrong(each.rejected.event, merchants):
            wrong[why] += 1
        else:
            good.append(RequeueRejectedRow(each.member, each.rejected.event))
    return AcceptableRejections(good=tuple(good), wrong=wrong)


def _still_wrong(event: bytes, merchants: Container[str]) -> RejectReason | None:
    match parse_order(event):
        case Order(data=data):
            return None if data.merchant in merchants else "unknown_merchant"
        case Rejection(reason=reason):
            return reason
        case IgnoredEvent():
            return "bad_envelope"
