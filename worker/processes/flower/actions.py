"""Carries out what an operator asks, or tells what would be done."""

from collections import Counter
from dataclasses import dataclass, field

import tornado.web

from tasks.rules.replay import MAX_REPLAYS
from worker.ledger import operator_actions
from worker.ledger.replay import Replay, prepare, replay_failed, select_failures
from worker.ledger.resuming import resume
from worker.observability.merchant_counts import MerchantCounts
from worker.observability.text import count
from worker.processes.flower.action_request import ActionRequest
from worker.processes.flower.sources import Sources
from worker.streams.rejected import RequeueOrder, acceptable_rejections, open_rejections, requeue_rejected


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What was done, or would be. `number`: of shipments, events or merchants.

    `wrong`: events that would be rejected again, by reason. `left_over`: whether more are selected than the limit.
    """

    number: int
    lines: tuple[str, ...] = ()
    replay: Replay | None = None
    wrong: Counter[str] = field(default_factory=Counter)
    left_over: bool = False


async def carry_out(sources: Sources, request: ActionRequest, by: str, *, dry_run: bool) -> Outcome:
    """Do it, and write it to the audit log; or with `dry_run` only tell what would be done."""
    match request.name:
        case "replay":
            return await _replay(sources, request, by, dry_run=dry_run)
        case "dismiss":
            return await _dismiss(sources, request, by, dry_run=dry_run)
        case "requeue":
            return await _requeue(sources, request, by, dry_run=dry_run)
        case "dismiss_rejected":
            return await _dismiss_rejected(sources, request, by, dry_run=dry_run)
        case "hold":
            return await _hold(sources, request, by, dry_run=dry_run)
        case _:
            return await _resume(sources, request, by, dry_run=dry_run)


async def _replay(sources: Sources, request: ActionRequest, by: str, *, dry_run: bool) -> Outcome:
    store, wanted = sources.store, request.wanted
    replay = await prepare(store.redis, sources.settings, wanted, request.rate)
    if not dry_run:
        replay = await replay_failed(store, wanted, replay, MAX_REPLAYS, by)
    return Outcome(number=len(replay.items), replay=replay, left_over=replay.left_over)


async def _dismiss(sources: Sources, request: ActionRequest, by: str, *, dry_run: bool) -> Outcome:
    found = await select_failures(sources.store.redis, sources.settings, request.wanted)
    if dry_run:
        return Outcome(number=len(found))
    return Outcome(number=await operator_actions.dismiss_failures(sources.store, found, by, request.why))


async def _requeue(sources: Sources, request: ActionRequest, by: str, *, dry_run: bool) -> Outcome:
    store, settings = sources.store, sources.settings
    found = await acceptable_rejections(store, settings, request.reason, request.entry, request.until_ms)
    rows, number = found.good[: request.limit], 0
    if dry_run:
        number = len(rows)
    else:
        order = RequeueOrder(rate=request.rate, by=by, subject=request.entry or "rejected events")
        number = len(await requeue_rejected(store, settings.orders_stream, rows, order))
    return Outcome(number=number, wrong=found.wrong, left_over=len(found.good) > len(rows))


async def _dismiss_rejected(sources: Sources, request: ActionRequest, by: str, *, dry_run: bool) -> Outcome:
    found = await open_rejections(sources.store, sources.settings, request.reason, request.until_ms)
    members = [each.member for each in found if request.entry in {None, each.rejected.stream_id}]
    if dry_run:
        return Outcome(number=len(members))
    redis = sources.store.redis
    return Outcome(number=await operator_actions.dismiss_rejected(redis, members, by, request.why))


async def _hold(sources: Sources, request: ActionRequest, by: str, *, dry_run: bool) -> Outcome:
    counts = await _counts(sources, request)
    if not dry_run:
        is_new = await operator_actions.hold(sources.store.redis, counts.merchant, by, request.why)
        return Outcome(number=1, lines=(f"{counts.merchant} is {'now' if is_new else 'still'} on hold.",))
    lines = [
        f"{counts.merchant} has {count(counts.unfinished, 'shipment')} that would get no call until it is resumed.",
        "Orders would still be accepted; calls in flight and deadlines continue.",
    ]
    if counts.on_hold is not None:
        lines.append(f"It is on hold already: {counts.on_hold}")
    return Outcome(number=1, lines=tuple(lines))


async def _resume(sources: Sources, request: ActionRequest, by: str, *, dry_run: bool) -> Outcome:
    counts = await _counts(sources, request)
    if not dry_run:
        lines = await resume(sources.store, sources.settings, counts.merchant, by)
    else:
        lines = []
        if counts.on_hold is not None:
            lines.append(f"the hold of {counts.merchant} would be lifted: {counts.on_hold}")
        if counts.paused is not None:
            lines.append(f"its pause would be lifted, and its parked shipments become due: {counts.paused}")
        if lines:
            lines.append(f"{count(counts.unfinished, 'shipment')} would get calls again")
    number = 1 if lines else 0
    return Outcome(number=number, lines=tuple(lines) or (f"{counts.merchant} was neither on hold nor paused",))


async def _counts(sources: Sources, request: ActionRequest) -> MerchantCounts:
    """The merchant's shipments as they are now."""
    readings = await sources.readings.readings(0)
    for counts in readings.overview.merchants:
        if counts.merchant == request.merchant:
            return counts
    raise tornado.web.HTTPError(404, f"no merchant {request.merchant!r}")
