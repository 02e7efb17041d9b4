"""`allocation failed`: failed shipments that are to be dealt with."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import click

from config.settings import Settings
from tasks.rules.shipment import iso
from worker.commands.example_lines import example
from worker.commands.nearest import no_such
from worker.commands.output import cell, print_json, print_table, say, table
from worker.commands.selection import check_selection
from worker.commands.session import visit
from worker.ledger.failures import Failure
from worker.ledger.replay import ReplayFilter, select_failures
from worker.observability.failures import Cause, order_of, read_causes, with_messages
from worker.observability.text import count, duration
from worker.redis_client.store import Store


@click.command(epilog=example("allocation failed --merchant acme", "allocation failed --reason conflict --list"))
@click.option("--merchant", metavar="M", help="Only this merchant's.")
@click.option("--reason", metavar="R", help="Only those of this reason.")
@click.option("--strategy", metavar="S", help="Only those with this last strategy, as the table shows it.")
@click.option("--order", metavar="N", help="Only those of this order, a row per shipment.")
@click.option("--list", "as_list", is_flag=True, help="A row per shipment instead of a row per cause.")
@click.option("--json", "as_json", is_flag=True, help="Print the causes, or with --list the shipments, as JSON.")
def command(  # one argument per option
    *,
    merchant: str | None,
    reason: str | None,
    strategy: str | None,
    order: str | None,
    as_list: bool,
    as_json: bool,
) -> None:
    """Show failed shipments that are to be dealt with, grouped by cause, the most frequent first.

    A cause is a merchant, a reason and the last strategy. `allocation explain` shows the history of an example,
    `allocation replay` requeues shipments, `allocation dismiss` marks them as dealt with.
    """
    wanted = ReplayFilter(merchant=merchant, reason=reason, strategy=strategy)
    if as_list or order is not None:
        found = visit(partial(_read_list, wanted=wanted, order=order))
        _show_list(found, as_json=as_json)
    else:
        causes = visit(partial(_read_causes, wanted=wanted))
        _show_causes(causes, as_json=as_json)


async def _read_list(store: Store, settings: Settings, *, wanted: ReplayFilter, order: str | None) -> list[Failure]:
    await check_selection(store, settings, wanted)
    found = await select_failures(store.redis, settings, wanted)
    if order is None:
        return found
    chosen = [each for each in found if order_of(each) == order]
    if not chosen:
        raise no_such("order with a failed shipment", order, sorted({order_of(each) for each in found}))
    return chosen


async def _read_causes(store: Store, settings: Settings, *, wanted: ReplayFilter) -> list[Cause]:
    await check_selection(store, settings, wanted)
    causes = await read_causes(store, settings, wanted.merchant, wanted.reason)
    chosen = [cause for cause in causes if wanted.strategy in {None, cause.strategy}]
    return await with_messages(store, settings, chosen)


def _show_list(found: Sequence[Failure], *, as_json: bool) -> None:
    if as_json:
        print_json(list(map(_shipment, found)))
        return
    if found:
        _print_list(found)
    say(count(len(found), "shipment"))


def _show_causes(causes: Sequence[Cause], *, as_json: bool) -> None:
    if as_json:
        print_json(list(map(_cause_document, causes)))
        return
    if causes:
        _print(causes)
    say(f"{count(sum(cause.shipments for cause in causes), 'shipment')}, {count(len(causes), 'cause')}")


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
