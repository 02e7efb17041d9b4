"""`allocation explain`: the full history of a shipment."""

import sys
from collections.abc import Iterable
from typing import Any

import click

from config.settings import Settings
from worker.commands.example_lines import example
from worker.commands.explain_document import ExplainedRejection, Explanation, explained
from worker.commands.nearest import check_merchant
from worker.commands.output import cell, print_json, print_table, say, table
from worker.commands.session import visit
from worker.ledger.records import Record, Settled
from worker.observability.files_of_records import FilesOfRecords
from worker.observability.find_shipments import Found, advice, find_shipments
from worker.observability.history import history_rows
from worker.observability.shipment_lines import shipment_lines
from worker.observability.shipment_text import state
from worker.redis_client.store import Store


@click.command(epilog=example("allocation explain sp_00802615769404976542730318118912", "allocation explain 1001"))
@click.argument("key")
@click.option("--merchant", metavar="M", help="The merchant.")
@click.option("--json", "as_json", is_flag=True, help="Print the history as JSON.")
def command(key: str, merchant: str | None, *, as_json: bool) -> None:
    """Show the full history of a shipment, found by its reference, its order number or the id of its event.

    It includes the rule and why it matched, every recorded call and read-back, labels and price, the present state, and
    what happens next. If an order has several shipments, they are listed. If several merchants have a shipment with
    this reference, all are shown. Exit code 1: there is none.
    """

    async def work(store: Store, settings: Settings) -> Found:
        if merchant:
            await check_merchant(store.redis, settings, merchant)
        return await find_shipments(store, settings, key, merchant)

    found = visit(work)
    if as_json:
        print_json(_as_json(key, found))
    else:
        _print(key, found)
    sys.exit(0 if found.records else 1)


def _as_json(key: str, found: Found) -> dict[str, Any]:
    explanation = Explanation(
        key=key,
        shipments=[explained(record, found.files) for record in found.records],
        rejected=[ExplainedRejection(stream_id=r.stream_id, reason=r.reason, error=r.error) for r in found.rejected],
        advice=list(advice(found)),
    )
    return explanation.model_dump()


def _print(reference: str, found: Found) -> None:
    if len(found.records) > 1 and not found.by_reference:
        _print_list(found.records)
        return
    for record in found.records:
        _print_record(record, found.files)
    if not found.records:
        say(f"{reference}: no such shipment in the ledger", fg="red")
    for rejected in found.rejected:
        say(f"rejected event {rejected.stream_id} names it: {rejected.reason}: {rejected.error}")
    for line in advice(found):
        say(line)


def _print_list(records: Iterable[Record]) -> None:
    rows = table("~reference", "merchant", "~order", "state", "~reason")
    for each in records:
        reason = each.where.reason if isinstance(each.where, Settled) else None
        words = (each.shipment.reference, each.shipment.merchant, each.shipment.order, state(each), reason or None)
        rows.add_row(*map(cell, words))
    print_table(rows)


def _print_record(record: Record, files: FilesOfRecords) -> None:
    shipment = record.shipment
    say(f"{shipment.reference} of {shipment.merchant}", bold=True)
    for line in shipment_lines(record, files):
        say(f"  {line.name:<8} {line.text}", hang=11, fg="red" if line.name == "record" else None)
    _print_history(record)


def _print_history(record: Record) -> None:
    rows = table("#", "time", "action", "~strategy", "outcome", "~reason", "~message", "~correlation id", "#ms")
    for row in history_rows(record):
        if row.left_out:
            rows.add_row("", cell(f"{row.left_out} more, not kept"))
            continue
        first = ("" if row.number is None else row.number, row.time, row.action, row.strategy, row.outcome)
        rows.add_row(*map(cell, (*first, row.reason, row.message, row.correlation_id, row.duration_ms)))
    if rows.row_count:
        print_table(rows)
    else:
        say("  no attempt yet")
