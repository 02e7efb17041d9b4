"""`allocation explain`: the full history of a shipment."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import click

from config.merchant_files.retry import Retry
from config.settings import Settings
from config.strategies.strategy import strategy_text
from tasks.rules.shipment import iso
from worker.commands.example_lines import example
from worker.commands.explain_document import ExplainedRejection, Explanation, explained
from worker.commands.history import path, state, whereabouts
from worker.commands.nearest import check_merchant, nearest, references
from worker.commands.output import cell, clock, print_json, print_table, say, table
from worker.commands.session import visit
from worker.ledger.orders_index import find_order
from worker.ledger.records import Record, Settled, Working, known_merchants, merchants_of, read_record, server_ms
from worker.ledger.stored_files import usable_files
from worker.observability.orders_lag import OrdersCounts, count_orders
from worker.observability.text import count, visible
from worker.redis_client.store import Store
from worker.streams.publishing import RejectedEvent, rejected_events

_REJECTED_LOOKED_AT = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The shipments that a key finds; without any, possible causes. `by_reference`: the key is their reference.

    `retries`: retry settings of the merchants with a valid file, by name.
    """

    records: tuple[Record, ...]
    by_reference: bool = True
    retries: dict[str, Retry] = field(default_factory=dict)
    rejected: tuple[RejectedEvent, ...] = ()
    orders: OrdersCounts | None = None
    nearest: tuple[str, ...] = ()


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
        return await _find(store, settings, key, merchant)

    found = visit(work)
    if as_json:
        print_json(_as_json(key, found))
    else:
        _print(key, found)
    sys.exit(0 if found.records else 1)


async def _find(store: Store, settings: Settings, key: str, merchant: str | None) -> Found:
    redis = store.redis
    if merchant:
        await check_merchant(redis, settings, merchant)
    candidates = [merchant] if merchant else await known_merchants(redis, settings.merchants_dir)
    hits = [(name, key) for name in await merchants_of(redis, key, candidates)]
    by_reference = bool(hits)
    if not by_reference:
        hits = await find_order(redis, settings, key, candidates)
    records = [await read_record(redis, settings, name, each) for name, each in hits]
    found = tuple(record for record in records if record)
    if found:
        usable = await usable_files(redis, settings, {name for name, _ in hits})
        retries = {name: usable[name].file.retry for name, _ in hits if name in usable}
        return Found(records=found, by_reference=by_reference, retries=retries)
    return Found(
        records=(),
        rejected=tuple(await _mentions(store, settings, key)),
        orders=await count_orders(redis, settings.orders_stream, await server_ms(redis)),
        nearest=tuple(nearest(key, await references(redis, candidates))),
    )


async def _mentions(store: Store, settings: Settings, reference: str) -> list[RejectedEvent]:
    """The newest rejected events that name the reference."""
    quoted = json.dumps(reference).encode()
    newest = rejected_events(store.redis, settings.rejected_stream, _REJECTED_LOOKED_AT)
    return [rejected async for rejected in newest if quoted in rejected.event]


def _as_json(key: str, found: Found) -> dict[str, Any]:
    explanation = Explanation(
        key=key,
        shipments=[explained(record, found.retries.get(record.shipment.merchant)) for record in found.records],
        rejected=[ExplainedRejection(stream_id=r.stream_id, reason=r.reason, error=r.error) for r in found.rejected],
        advice=list(_advice(found)),
    )
    return explanation.model_dump()


def _advice(found: Found) -> Iterator[str]:
    """What to do when the ledger has no such shipment."""
    if found.orders is None:
        return
    for rejected in found.rejected:
        if rejected.reason == "unknown_merchant":
            yield "add or fix the merchant file, then: allocation replay --rejected-all --reason unknown_merchant"
        else:
            yield "fix the event, then: allocation replay --rejected FILE"
        return
    if found.orders.undelivered != 0 or found.orders.unacknowledged:
        yield "the orders stream has entries that no intake has accepted yet; is intake running?"
    near = f"; nearest references: {', '.join(map(visible, found.nearest))}" if found.nearest else ""
    yield f"check the reference, order number or event id{near}"


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
    for line in _advice(found):
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
