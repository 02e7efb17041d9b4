"""`allocation dismiss`: marks failed shipments, rejected events or lost orders as dealt with."""

import click

from config.settings import Settings
from worker.commands.example_lines import example
from worker.commands.nearest import no_such
from worker.commands.options import by, failed_selection, why
from worker.commands.output import print_json, say
from worker.commands.selection import check_selection
from worker.commands.session import visit
from worker.ledger import keys, operator_actions
from worker.ledger.replay import ReplayFilter, select_failures
from worker.observability.text import count
from worker.redis_client.store import Store
from worker.streams.rejected import open_rejections


@click.command(
    epilog=example(
        "allocation dismiss --merchant acme --reason shipment_gone --why 'cancelled by the shop'",
        "allocation dismiss --rejected-all --why 'test events'",
    )
)
@failed_selection
@click.option("--rejected", "stream_id", metavar="STREAM_ID", help="A rejected event.")
@click.option("--rejected-all", is_flag=True, help="Rejected events, with --reason those of one reason.")
@click.option("--lost", is_flag=True, help="Orders that were lost before an intake read them.")
@click.option("--dry-run", is_flag=True, help="Only show what would be dismissed.")
@why
@by
@click.option("--json", "as_json", is_flag=True, help="Print the number as JSON.")
def command(  # noqa: PLR0913  # one argument per option
    *,
    references: tuple[str, ...],
    merchant: str | None,
    reason: str | None,
    strategy: str | None,
    everything: bool,
    stream_id: str | None,
    rejected_all: bool,
    lost: bool,
    dry_run: bool,
    why: str,
    by: str,
    as_json: bool,
) -> None:
    """Mark failed shipments, rejected events or lost orders as dealt with.

    They no longer count in `allocation status`, `failed` and `rejected`. Nothing is deleted: a dismissed shipment can
    still be explained and replayed by its reference.
    """
    wanted = ReplayFilter(references=references, merchant=merchant, reason=reason, strategy=strategy)
    is_rejected = bool(stream_id) or rejected_all
    failed = bool(references or merchant or strategy is not None or everything or (reason and not is_rejected))
    if sum((failed, bool(stream_id), rejected_all, lost)) != 1:
        raise click.UsageError(
            "name what to dismiss: a REFERENCE, --merchant, --reason, --strategy or --all; "
            "--rejected, --rejected-all; or --lost"
        )

    async def work(store: Store, settings: Settings) -> int:
        if failed:
            await check_selection(store, settings, wanted)
            found = await select_failures(store.redis, settings, wanted)
            return len(found) if dry_run else await operator_actions.dismiss_failures(store, found, by, why)
        if is_rejected:
            members = await _members(store, settings, stream_id, reason)
            return len(members) if dry_run else await operator_actions.dismiss_rejected(store.redis, members, by, why)
        if dry_run:
            return int(await store.redis.get(keys.LOST_ORDERS) or 0)
        return await operator_actions.dismiss_lost(store.redis, by, why)

    done = visit(work)
    if as_json:
        print_json({"dry_run": dry_run, "dismissed": done})
        return
    noun = "failed shipment" if failed else "rejected event" if is_rejected else "lost order"
    say(f"{'would dismiss' if dry_run else 'dismissed'} {count(done, noun)}")


async def _members(store: Store, settings: Settings, stream_id: str | None, reason: str | None) -> list[str]:
    found = await open_rejections(store, settings)
    known = sorted({each.rejected.reason for each in found})
    if reason and reason not in known:
        raise no_such("reason", reason, known)
    if stream_id is None:
        return [each.member for each in found if reason in {None, each.rejected.reason}]
    members = [each.member for each in found if each.rejected.stream_id == stream_id]
    if not members:
        raise no_such("rejected event", stream_id, [each.rejected.stream_id for each in found])
    return members
