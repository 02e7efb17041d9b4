"""`allocation replay`: requeues failed shipments and rejected events."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from config.settings import Settings
from tasks.rules.replay import MAX_REPLAYS
from worker.commands.example_lines import example
from worker.commands.options import by as by_option
from worker.commands.options import failed_selection
from worker.commands.output import cell, print_json, print_table, say, table
from worker.commands.publish import EVENT_FILE
from worker.commands.replay_rejected import How, replay_all_rejected, replay_file
from worker.commands.selection import check_selection
from worker.commands.session import visit
from worker.ledger.replay import WHY_KEPT, Replay, ReplayFilter, prepare, replay_failed
from worker.observability.text import count, duration
from worker.redis_client.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """The result of a replay."""

    replay: Replay
    dry_run: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _How:
    rate: float
    dry_run: bool
    force: bool
    by: str


@click.command(
    epilog=example(
        "allocation replay sp_00802615769404976542730318118912",
        "allocation replay --merchant acme --reason all_steps_refused --limit 10 --dry-run",
        "allocation replay --rejected-all --reason unknown_merchant",
    )
)
@failed_selection
@click.option(
    "--rejected", type=EVENT_FILE, metavar="FILE", help="Publish fixed events of `rejected --export` instead."
)
@click.option("--rejected-all", is_flag=True, help="Publish again the rejected events that would be accepted now.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N, oldest first.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=50.0,
    show_default=True,
    metavar="N",
    help="Shipments per second.",
)
@click.option("--force", is_flag=True, help=f"Also shipments that were replayed {MAX_REPLAYS} times.")
@by_option
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def command(  # noqa: PLR0913  # one argument per option
    *,
    references: tuple[str, ...],
    merchant: str | None,
    reason: str | None,
    strategy: str | None,
    everything: bool,
    rejected: Path | None,
    rejected_all: bool,
    dry_run: bool,
    limit: int | None,
    rate: float,
    force: bool,
    by: str,
    as_json: bool,
) -> None:
    """Requeue failed shipments or rejected events.

    A replay chooses rule and plan again, from the facts of the order and the current merchant file. The shipment is
    read back before any call, so that it is not allocated twice. At least one condition is needed; all that are given
    must hold. Exit code 1: a selected shipment could not be requeued.
    """
    wanted = ReplayFilter(references=references, merchant=merchant, reason=reason, strategy=strategy, most=limit)
    _check_usage(wanted, everything=everything, rejected=rejected is not None, rejected_all=rejected_all)
    how = How(rate=rate, by=by, dry_run=dry_run, as_json=as_json)
    if rejected is not None:
        replay_file(rejected, how)
    elif rejected_all:
        replay_all_rejected(reason, limit, how)
    else:
        _replay_failed(wanted, _How(rate=rate, dry_run=dry_run, force=force, by=by), as_json=as_json)


def _check_usage(wanted: ReplayFilter, *, everything: bool, rejected: bool, rejected_all: bool) -> None:
    failed = any((wanted.references, wanted.merchant, wanted.strategy is not None, everything))
    modes = (failed, rejected, rejected_all)
    if sum(modes) > 1 or (rejected and wanted.reason):
        raise click.UsageError("failed shipments, --rejected and --rejected-all: one at a time")
    if not any(modes) and not wanted.reason:
        raise click.UsageError(
            "name what to requeue: a REFERENCE, --merchant, --reason, --strategy, --all or --rejected-all"
        )


def _replay_failed(wanted: ReplayFilter, how: _How, *, as_json: bool) -> None:
    async def work(store: Store, settings: Settings) -> Done:
        return await _requeue_failed(store, settings, wanted, how)

    done = visit(work)
    if as_json:
        print_json(_document(done))
    else:
        _print(done)
    sys.exit(1 if done.replay.kept else 0)


async def _requeue_failed(store: Store, settings: Settings, wanted: ReplayFilter, how: _How) -> Done:
    await check_selection(store, settings, wanted)
    max_replays = 0 if how.force else MAX_REPLAYS
    replay = await prepare(store.redis, settings, wanted, how.rate, max_replays)
    if how.dry_run:
        return Done(replay=replay, dry_run=True)
    replayed = await replay_failed(store, wanted, replay, max_replays, how.by)
    return Done(replay=replayed, dry_run=False)


def _print(done: Done) -> None:
    replay = done.replay
    if replay.items:
        rows = table("#shipments", "merchant", "reason", "~plan before", "~plan now")
        for way, shipments in replay.ways:
            rows.add_row(*map(cell, (shipments, *way)))
        print_table(rows)
    last = f", the last one due in {duration(replay.items[-1].due_s)}" if len(replay.items) > 1 else ""
    say(f"{'would requeue' if done.dry_run else 'requeued'} {count(len(replay.items), 'shipment')}{last}")
    for failure, why in replay.kept:
        say(f"{failure.reference} of {failure.merchant} was not requeued: {WHY_KEPT[why]}", error=True)
    if replay.left_over:
        say("more have failed; run the command again to requeue the next ones")


def _document(done: Done) -> dict[str, Any]:
    replay = done.replay
    return {
        "dry_run": done.dry_run,
        "requeued": [
            {
                "merchant": items.failure.merchant,
                "reference": items.failure.reference,
                "failed_by": items.failure.reason,
                "rule": items.start.plan.rule,
                "strategy": items.start.plan.steps[0].table,
                "plan_before": items.plan_before,
                "plan_now": items.plan_now,
                "due_s": items.due_s,
            }
            for items in replay.items
        ],
        "kept": [{"merchant": f.merchant, "reference": f.reference, "why": why} for f, why in replay.kept],
        "left_over": replay.left_over,
    }
