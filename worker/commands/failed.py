"""`allocation failed`: failed shipments, grouped by cause."""

import time
from collections import defaultdict
from dataclasses import asdict, dataclass

import click

from config.settings import Settings
from tasks.rules.shipment import iso
from worker.commands.output import cell, example, print_json, print_table, say, table
from worker.commands.session import visit
from worker.ledger.records import Failure, event_of, failures, known_merchants
from worker.observability.text import count, duration
from worker.redis_client.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """Shipments of one merchant that failed for one reason at one strategy.

    `oldest` and `newest` in seconds since the epoch; `example` and `message` are the newest one's.
    """

    merchant: str
    reason: str
    strategy: str
    shipments: int
    oldest: float
    newest: float
    example: str
    message: str | None


@click.command(epilog=example("allocation failed --merchant acme"))
@click.option("--merchant", metavar="M", help="Only this merchant's.")
@click.option("--json", "as_json", is_flag=True, help="Print the causes as JSON.")
def command(merchant: str | None, *, as_json: bool) -> None:
    """Show failed shipments grouped by cause, the most frequent first.

    A cause is a merchant, a reason and the last strategy. `allocation explain` shows the history of an example,
    `allocation replay` requeues shipments.
    """

    async def work(store: Store, settings: Settings) -> list[Cause]:
        return await _causes(store, settings, merchant)

    causes = visit(work)
    if as_json:
        print_json([asdict(cause) | {"oldest": iso(cause.oldest), "newest": iso(cause.newest)} for cause in causes])
        return
    if causes:
        _print(causes)
    say(f"{count(sum(cause.shipments for cause in causes), 'shipment')}, {count(len(causes), 'cause')}")


async def _causes(store: Store, settings: Settings, merchant: str | None) -> list[Cause]:
    names = [merchant] if merchant else await known_merchants(store.redis, settings.merchants_dir)
    groups: dict[tuple[str, str, str], list[Failure]] = defaultdict(list)
    for name in names:
        for failure in await failures(store.redis, settings, name):
            groups[failure.merchant, failure.reason, failure.strategy].append(failure)
    causes = [await _cause(store, settings, group) for group in groups.values()]
    return sorted(causes, key=lambda cause: (-cause.shipments, cause.merchant, cause.reason))


async def _cause(store: Store, settings: Settings, group: list[Failure]) -> Cause:
    oldest, newest = group[0], group[-1]
    event_id = f"{newest.merchant}/{newest.reference}/failed/{newest.replays}"
    event = await event_of(store.redis, settings.failed_stream, event_id, newest.settled_ms)
    return Cause(
        merchant=newest.merchant,
        reason=newest.reason,
        strategy=newest.strategy,
        shipments=len(group),
        oldest=oldest.settled_ms / 1000,
        newest=newest.settled_ms / 1000,
        example=newest.reference,
        message=event["data"]["message"] if event else None,
    )


def _print(causes: list[Cause]) -> None:
    rows = table("#shipments", "merchant", "reason", "~strategy", "oldest", "newest", "~example", "~message")
    for cause in causes:
        ages = (f"{duration(max(0.0, time.time() - at))} ago" for at in (cause.oldest, cause.newest))
        words = (cause.merchant, cause.reason, cause.strategy, *ages, cause.example, cause.message)
        rows.add_row(*map(cell, (cause.shipments, *words)))
    print_table(rows)
