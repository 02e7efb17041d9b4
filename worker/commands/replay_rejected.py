"""`allocation replay --rejected FILE` and `--rejected-all`: publishes rejected events again."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from config.settings import Settings
from tasks.rules.order import RejectReason
from worker.commands.exported_events import split_exported
from worker.commands.nearest import no_such
from worker.commands.output import print_json, say
from worker.commands.publish import progress_bar, publish_texts, read_events, refuse_wrong
from worker.commands.session import visit
from worker.ledger.stream_arguments import RequeueRejectedRow
from worker.observability.text import count
from worker.redis_client.store import Store
from worker.streams.rejected import RequeueOrder, acceptable_rejections, open_members, requeue_rejected


@dataclass(frozen=True, kw_only=True, slots=True)
class How:
    """How rejected events are published again. `rate`: events per second. `by`: the operator."""

    rate: float
    by: str
    dry_run: bool
    as_json: bool

    def order(self, subject: str = "rejected events") -> RequeueOrder:
        """What is published again, for the audit log."""
        return RequeueOrder(rate=self.rate, by=self.by, subject=subject)


def replay_file(file: Path, how: How) -> None:
    """Publish the fixed events of a file; those that `rejected --export` wrote are then dealt with."""
    exported, plain = split_exported(read_events([file]))
    refuse_wrong([*(each.event for each in exported), *plain], "so none was published; fix them")

    async def work(store: Store, settings: Settings) -> tuple[list[str], int]:
        members = await open_members(store.redis, settings)
        rows = [
            RequeueRejectedRow(members[each.stream_id][0], each.event.text)
            for each in exported
            if each.stream_id in members
        ]
        if how.dry_run:
            return [""] * len(rows), len(exported) - len(rows)
        return await _requeue(store, settings, rows, how.order(str(file))), len(exported) - len(rows)

    ids, done_before = visit(work)
    plain_ids = [""] * len(plain) if how.dry_run else publish_texts([event.text for event in plain], how.rate)
    _print([*ids, *plain_ids], {}, how)
    if done_before and not how.as_json:
        say(f"{count(done_before, 'event')} had been dealt with before")


def replay_all_rejected(reason: str | None, limit: int | None, how: How) -> None:
    """Publish the original text of the rejected events that would be accepted now."""
    if reason and reason not in get_args(RejectReason):
        raise no_such("reason", reason, get_args(RejectReason))

    async def work(store: Store, settings: Settings) -> tuple[list[str], Counter[str]]:
        gathered = await acceptable_rejections(store, settings, reason)
        rows = gathered.good[:limit]
        if how.dry_run:
            return [""] * len(rows), gathered.wrong
        return await _requeue(store, settings, rows, how.order()), gathered.wrong

    _print(*visit(work), how)


async def _requeue(
    store: Store, settings: Settings, rows: Sequence[RequeueRejectedRow], order: RequeueOrder
) -> list[str]:
    with progress_bar(len(rows), slow=True) as on_progress:
        return await requeue_rejected(store, settings.orders_stream, rows, order, on_progress)


def _print(ids: Sequence[str], wrong: Counter[str] | dict[str, int], how: How) -> None:
    if how.as_json:
        shown = [] if how.dry_run else [*ids]
        print_json({"dry_run": how.dry_run, "events": len(ids), "ids": shown, "still_wrong": wrong})
        return
    say(f"{'would publish' if how.dry_run else 'published'} {count(len(ids), 'event')} again")
    for why, events_wrong in Counter(wrong).most_common():
        say(f"{count(events_wrong, 'event')} would be rejected again: {why}")
