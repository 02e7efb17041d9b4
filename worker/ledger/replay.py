"""Requeues failed shipments."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

from config.merchant_files.merchant_file import Merchant
from config.settings import Settings
from config.strategies.strategy import strategy_text
from tasks.rules.portions import portions
from tasks.rules.replay import MAX_REPLAYS, NewPlan, choose_new_plan
from tasks.rules.shipment import entry_field
from worker.ledger.arguments import ReplayArgs, ReplayRow
from worker.ledger.failures import Failure, failures, read_failures
from worker.ledger.ledger import FARTHEST_WAIT_S
from worker.ledger.operator_actions import record_action
from worker.ledger.records import known_merchants, server_ms
from worker.ledger.scripts import REPLAY
from worker.ledger.stored_files import usable_files
from worker.redis_client.store import Redis, Store

_AT_ONCE = 100

SPREAD_MOST_S = FARTHEST_WAIT_S / 2
"""How far ahead one replay schedules; later due times count as a clock jump."""

SkipReason = Literal["no_merchant_file", "unreadable_record", "too_often", "changed_meanwhile"]

WHY_KEPT: dict[SkipReason, str] = {
    "no_merchant_file": "without a valid merchant file there is no plan; run `allocation check`",
    "unreadable_record": "this version cannot parse its record; a newer version may",
    "too_often": f"replayed {MAX_REPLAYS} times already; fix the cause, or use --force",
    "changed_meanwhile": "it was replayed by another command meanwhile",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayFilter:
    """Selects failed shipments: all given conditions must hold. `most`: None for all."""

    references: tuple[str, ...] = ()
    merchant: str | None = None
    reason: str | None = None
    strategy: str | None = None
    most: int | None = None
    until_ms: int | None = None

    @property
    def subject(self) -> str:
        """What is selected, for the audit log."""
        return " ".join(filter(None, (*self.references[:3], self.merchant, self.reason, self.strategy))) or "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayItem:
    """A failed shipment and its new plan; `due_s`: in how many seconds it is due."""

    failure: Failure
    start: NewPlan
    due_s: float

    @property
    def plan_before(self) -> str:
        """Rule and steps of the failed plan, such as `default: carrier_service X, then service_group Y`."""
        return _plan(self.failure.facts)

    @property
    def plan_now(self) -> str:
        """Rule and steps of the new plan."""
        return _plan(self.start.intake)


def _plan(intake: str) -> str:
    fixed = json.loads(intake)
    return f"{fixed['rule']}: {', then '.join(map(strategy_text, fixed['steps']))}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """What is requeued, what is skipped and why, and whether more were selected than one replay handles."""

    items: tuple[ReplayItem, ...]
    kept: tuple[tuple[Failure, SkipReason], ...] = ()
    left_over: bool = False

    @property
    def ways(self) -> list[tuple[tuple[str, str, str, str], int]]:
        """How many shipments have the same merchant, reason, plan before and plan now, the most frequent first."""
        return Counter(map(_way, self.items)).most_common()


def _way(item: ReplayItem) -> tuple[str, str, str, str]:
    before, now = item.plan_before, item.plan_now
    return item.failure.merchant, item.failure.reason, before, "the same" if now == before else now


async def prepare(
    redis: Redis, settings: Settings, wanted: ReplayFilter, rate: float, max_replays: int = MAX_REPLAYS
) -> Replay:
    """Select failures and choose their new plans; nothing is written. `rate`: shipments per second.

    The limit counts shipments that can be requeued: one that cannot does not keep others from it.
    """
    fit = max(1, round(SPREAD_MOST_S * rate))
    most = fit if wanted.most is None else min(wanted.most, fit)
    good, now = await usable_files(redis, settings), await server_ms(redis) / 1000

    starts: list[tuple[Failure, NewPlan | SkipReason]] = []

    def is_enough(read: Sequence[Failure]) -> bool:
        starts.extend((failure, _start(failure, good, now, max_replays)) for failure in read[len(starts) :])
        return sum(isinstance(start, NewPlan) for _, start in starts) > most

    is_enough(await select_failures(redis, settings, wanted, is_enough))
    items = [(failure, start) for failure, start in starts if isinstance(start, NewPlan)]
    return Replay(
        items=tuple(
            ReplayItem(failure=failure, start=start, due_s=number / rate)
            for number, (failure, start) in enumerate(items[:most])
        ),
        kept=tuple((failure, why) for failure, why in starts if not isinstance(why, NewPlan)),
        left_over=len(items) > most,
    )


async def select_failures(
    redis: Redis,
    settings: Settings,
    wanted: ReplayFilter,
    is_enough: Callable[[Sequence[Failure]], bool] = lambda _: False,
) -> list[Failure]:
    """The selected failures, oldest first per merchant, until they are enough; by reference also dismissed ones."""
    merchants = [wanted.merchant] if wanted.merchant else await known_merchants(redis, settings.merchants_dir)
    if not wanted.references:
        return await failures(
            redis,
            settings,
            merchants,
            reason=wanted.reason,
            strategy=wanted.strategy,
            until_ms=wanted.until_ms,
            is_enough=is_enough,
        )
    named = await read_failures(redis, list(product(merchants, wanted.references)))
    return [
        failure
        for failure in named
        if wanted.reason in {None, failure.reason}
        and wanted.strategy in {None, failure.strategy}
        and (wanted.until_ms is None or failure.settled_ms <= wanted.until_ms)
    ]


def _start(failure: Failure, good: dict[str, Merchant], now: float, max_replays: int) -> NewPlan | SkipReason:
    if failure.merchant not in good:
        return "no_merchant_file"
    if failure.progress is None:
        return "unreadable_record"
    if max_replays and failure.replays >= max_replays:
        return "too_often"
    try:
        return choose_new_plan(good[failure.merchant], failure.facts, failure.progress, now)
    except (ValueError, TypeError, LookupError, AttributeError):
        return "unreadable_record"


async def replay_failed(store: Store, wanted: ReplayFilter, prepared: Replay, max_replays: int, by: str) -> Replay:
    """Requeue what an operator had prepared, and write it to the audit log; see `requeue_failed`."""
    replayed = await requeue_failed(store, prepared, max_replays)
    await record_action(store.redis, "replay", by, wanted.subject, count=len(replayed.items))
    return replayed


async def requeue_failed(store: Store, replay: Replay, max_replays: int) -> Replay:
    """Requeue what was prepared; returns the result. `max_replays` of one shipment, 0 for no limit."""
    replies: list[int] = []
    for some in portions(replay.items, _AT_ONCE):
        args: list[Any] = [*ReplayArgs(max_replays)]
        for item in some:
            args += _row(item)
        replies += await store.run(REPLAY, [], args)
    results = list(zip(replay.items, replies, strict=True))
    return Replay(
        items=tuple(items for items, reply in results if reply == 1),
        kept=(*replay.kept, *((items.failure, _KEPT[reply]) for items, reply in results if reply != 1)),
        left_over=replay.left_over,
    )


_KEPT: dict[int, SkipReason] = {0: "changed_meanwhile", -1: "too_often"}


def _row(item: ReplayItem) -> ReplayRow:
    failure, start = item.failure, item.start
    return ReplayRow(
        failure.merchant,
        failure.reference,
        failure.settled_ms,
        start.intake,
        str(start.plan.steps[0]),
        start.progress.as_json(),
        entry_field(start.progress.entries),
        json.dumps(start.entry),
        round(item.due_s * 1000),
    )
