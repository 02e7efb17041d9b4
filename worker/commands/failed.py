"""`allocation failed`: failed shipments that are to be dealt with."""

import json
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import click

from config.settings import Settings
from tasks.rules.shipment import iso
from worker.commands.example_lines import example
from worker.commands.nearest import no_such
from worker.commands.output import cell, print_json, print_table, say, table
from worker.commands.selection import check_selection
from worker.commands.session import visit
from worker.ledger.records import Failure
from worker.ledger.replay import ReplayFilter, select_failures
from worker.ledger.shipment_state import EventName, events_of
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


@click.command(epilog=example("allocation failed --merchant acme", "allocation failed --reason conflict --list"))
@click.option("--merchant", metavar="M", help="Only this merchant's.")
@click.option("--reason", metavar="R", help="Only those of this reason.")
@click.option("--order", metavar="N", help="Only those of this order.")
@click.option("--list", "as_list", is_flag=True, help="A row per shipment instead of a row per cause.")
@click.option("--json", "as_json", is_flag=True, help="Print the causes, or with --list the shipments, as JSON.")
def command(merchant: str | None, reason: str | None, order: str | None, *, as_list: bool, as_json: bool) -> None:
    """Show failed shipments that are to be dealt with, grouped by cause, the most frequent first.

    A cause is a merchant, a reason and the last strategy. `allocation explain` shows the history of an example,
    `allocation replay` requeues shipments, `allocation dismiss` marks them as dealt with.
    """
    wanted = ReplayFilter(merchant=merchant, reason=reason)

    async def work(store: Store, settings: Settings) -> tuple[list[Failure], list[Cause]]:
        await check_selection(store.redis, settings, wanted)
        found = await select_failures(store.redis, settings, wanted)
        if order is not None:
            known = sorted({order_of(each) for each in found})
            found = [each for each in found if order_of(each) == order]
            if not found:
                raise no_such("order with a failed shipment", order, known)
        return found, [] if as_list else await _causes(store, settings, found)

    found, causes = visit(work)
    if as_json:
        print_json([_shipment(each) for each in found] if as_list else [_cause_document(each) for each in causes])
        return
    if found:
        _print_list(found) if as_list else _print(causes)
    say(f"{count(len(found), 'shipment')}" + ("" if as_list else f", {count(len(causes), 'cause')}"))


def order_of(failure: Failure) -> str:
    """The number of a failed shipment's order; '' if its record cannot be parsed."""
    try:
        return str(json.loads(failure.facts)["order"])
    except (ValueError, LookupError, TypeError):
        return ""


async def _causes(store: Store, settings: Settings, found: Iterable[Failure]) -> list[Cause]:
    groups: dict[tuple[str, str, str], list[Failure]] = defaultdict(list)
    for failure in found:
        groups[failure.merchant, failure.reason, failure.strategy].append(failure)
    names = [_event_name(group[-1]) for group in groups.values()]
    events = await events_of(store.redis, settings.failed_stream, names)
    causes = map(_cause, groups.values(), events)
    return sorted(causes, key=lambda cause: (-cause.shipments, cause.merchant, cause.reason))


def _event_name(failure: Failure) -> EventName:
    return EventName(f"{failure.merchant}/{failure.reference}/failed/{failure.replays}", failure.settled_ms)


def _cause(group: list[Failure], event: dict[str, Any] | None) -> Cause:
    """The cause of some shipments; `event`: of the newest one."""
    oldest, newest = group[0], group[-1]
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


def _cause_document(cause: Cause) -> dict[str, Any]:
    return asdict(cause) | {"oldest": iso(cause.oldest), "newest": iso(cause.newest)}


def _shipment(failure: Failure) -> dict[str, Any]:
    return {
        "merchant": failure.merchant,
        "reference": failure.reference,
        "order": order_of(failure) or None,
        "reason": failure.reason,
        "strategy": failure.strategy,
        "failed_at": iso(failure.settled_ms / 1000),
        "replays": failure.replays,
    }


def _print_list(found: Iterable[Failure]) -> None:
    rows = table("~reference", "merchant", "~order", "reason", "~strategy", "~failed at")
    for each in found:
        at = iso(each.settled_ms / 1000)
        words = (each.reference, each.merchant, order_of(each) or None, each.reason, each.strategy, at)
        rows.add_row(*map(cell, words))
    print_table(rows)


def _print(causes: Iterable[Cause]) -> None:
    rows = table("#shipments", "merchant", "reason", "~strategy", "oldest", "newest", "~example", "~message")
    for cause in causes:
        ages = (f"{duration(max(0.0, time.time() - at))} ago" for at in (cause.oldest, cause.newest))
        words = (cause.merchant, cause.reason, cause.strategy, *ages, cause.example, cause.message)
        rows.add_row(*map(cell, (cause.shipments, *words)))
    print_table(rows)
