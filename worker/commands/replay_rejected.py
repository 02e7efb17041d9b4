"""The part of `allocation replay` that publishes rejected events again."""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass

from config.merchant_files.merchant_file import read_all
from config.settings import Settings
from tasks.rules.order import IgnoredEvent, Order, Rejection, RejectReason, parse_order
from worker.commands.output import print_json, say
from worker.commands.publish import publish_texts
from worker.commands.session import visit
from worker.observability.text import count
from worker.redis_client.store import Store
from worker.streams.publishing import rejected_events


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """Rejected events that would be accepted now, oldest first, and how many would not, by reason."""

    good: tuple[bytes, ...]
    wrong: Counter[str]


def replay_rejected(reason: str | None, limit: int | None, rate: float, *, dry_run: bool, as_json: bool) -> None:
    """Publish the original text of rejected events that would be accepted now; each text once."""

    async def work(store: Store, settings: Settings) -> Gathered:
        return await _gather(store, settings, reason)

    gathered = visit(work)
    events = gathered.good[:limit]
    ids = [] if dry_run else publish_texts(events, rate)
    if as_json:
        print_json({"dry_run": dry_run, "events": len(events), "ids": ids, "still_wrong": gathered.wrong})
        return
    say(f"{'would publish' if dry_run else 'published'} {count(len(events), 'event')} again")
    for why, events_wrong in gathered.wrong.most_common():
        say(f"{count(events_wrong, 'event')} would be rejected again: {why}")


async def _gather(store: Store, settings: Settings, reason: str | None) -> Gathered:
    merchants, _ = read_all(settings.merchants_dir, settings.http_hosts)
    good: dict[bytes, None] = {}
    wrong: dict[bytes, str] = {}
    async for rejected in rejected_events(store.redis, settings.rejected_stream):
        # Of an event that was too large only a part is kept.
        if rejected.reason == "event_too_large" or reason not in {None, rejected.reason}:
            continue
        if why := _still_wrong(rejected.event, merchants):
            wrong[rejected.event] = why
        else:
            good[rejected.event] = None
    return Gathered(good=tuple(reversed(good)), wrong=Counter(wrong.values()))


def _still_wrong(event: bytes, merchants: Container[str]) -> RejectReason | None:
    match parse_order(event):
        case Order(data=data):
            return None if data.merchant in merchants else "unknown_merchant"
        case Rejection(reason=reason):
            return reason
        case IgnoredEvent():
            return "bad_envelope"
