"""`allocation explain`: the full history of a shipment."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click

from config.merchant_files.retry import Retry
from config.settings import Settings
from config.strategies.strategy import strategy_text
from tasks.rules.shipment import iso
from worker.commands.example_lines import example
from worker.commands.explain_document import ExplainedRejection, Explanation, explained
from worker.commands.nearest import check_merchant
from worker.commands.output import cell, print_json, print_table, say, table
from worker.commands.session import visit
from worker.ledger.records import Record, Settled, Working
from worker.observability.find_shipments import Found, advice, find_shipments
from worker.observability.shipment_text import path, state, whereabouts
from worker.observability.text import clock, count
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
        shipments=[explained(record, found.retries.get(record.shipment.merchant)) for record in found.records],
        rejected=[ExplainedRejection(stream_id=r.stream_id, reason=r.reason, error=r.error) for r in found.rejected],
        advice=list(advice(found)),
    )
    return explanation.model_dump()


def _print(reference: str, found: Found) -> None:
    if len(found.records) > 1 and not found.by_reference:
        _print_list(found.records)
        return
    for record in found.records:
        _print_record(record, found.retries.get(record.shipment.merchant))
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


def _print_record(record: Record, retry: Retry | None) -> None:
    shipment = record.shipment
    say(f"{shipment.reference} of {shipment.merchant}", bold=True)
    if record.unreadable:
        say(f"  {'record':<9}this version cannot parse it: {record.unreadable}", fg="red")
    lines = {
        "order": f"{shipment.order}, event {shipment.order_event}",
        "received": clock(shipment.received) + _replayed(record),
        "api": shipment.api,
        "file": f"version {shipment.merchant_file}",
        "rule": f"{shipment.rule}: {record.why}",
        "facts": ", ".join(f"{name} {_plain(fact)}" for name, fact in record.facts.items()),
        "plan": path(record),
        "now": whereabouts(record, retry),
    }
    for name, text in [*lines.items(), *_allocated(record)]:
        say(f"  {name:<9}{text}", hang=11)
    for name, order in (("cancelled", record.cancelled), ("dismissed", record.dismissed), ("on hold", record.on_hold)):
        if order:
            say(f"  {name:<8} {order}")
    if repeated := shipment.progress.repeated_calls:
        text = "after an open one: an API that acts even later books twice"
        say(f"  {'repeated':<9}{count(repeated, 'call')} {text}")
    _print_history(record)


_KEY_HEADERS = {"shipments-v2": "x-api-key", "consignments-v1": "ocp-apim-subscription-key"}


def _allocated(record: Record) -> Iterator[tuple[str, str]]:
    """Price and label links of an allocated shipment, as far as its event has them."""
    event = record.where.event if isinstance(record.where, Settled) else None
    data = event["data"] if event else {}
    if price := data.get("price"):
        yield "price", f"{price['net']} net, {price['gross']} gross, {price['currency']}"
    for label in data.get("labels", ()):
        yield "label", f"{label['href']} ({label['format']})"
    if data.get("labels") and data.get("api") in _KEY_HEADERS:
        yield "", f"fetch labels with the header {_KEY_HEADERS[data['api']]}: the merchant's API key"


def _replayed(record: Record) -> str:
    replays = record.shipment.replays
    return f", when it was requeued ({count(replays, 'replay')})" if replays else ""


def _plain(fact: Any) -> str:
    return " ".join(fact) if isinstance(fact, list) else str(fact)


_COLUMNS = ("outcome", "reason", "message", "correlation_id", "duration_ms")


def _print_history(record: Record) -> None:
    rows = table("#", "time", "action", "~strategy", "outcome", "~reason", "~message", "~correlation id", "#ms")
    before = 0
    for number, entry in record.history:
        if number > before + 1:
            rows.add_row("", cell(f"{number - before - 1} more, not kept"))
        before = number
        rest = (entry.get(name) for name in _COLUMNS)
        rows.add_row(*map(cell, (number, entry["at"].replace("T", " "), entry["action"], _strategy(entry), *rest)))
    if isinstance(record.where, Working) and record.where.called_at is not None:
        at = iso(record.where.called_at).replace("T", " ")
        rows.add_row(*map(cell, ("", at, "allocate", str(record.shipment.strategy), "in flight", *[None] * 4)))
    if rows.row_count:
        print_table(rows)
    else:
        say("  no attempt yet")


def _strategy(entry: dict[str, Any]) -> str | None:
    """The strategy of an attempt; of a replay, the rule that it chose."""
    if "strategy" in entry:
        return strategy_text(entry["strategy"])
    return f"rule {entry['by']}" if "by" in entry else None
