"""Finds shipments by what people have: a reference, an order number, the id of an event."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from config.settings import Settings
from worker.ledger.orders_index import find_order
from worker.ledger.records import Record, known_merchants, merchants_of, read_record, server_ms
from worker.observability.files_of_records import FilesOfRecords, read_files
from worker.observability.nearest import nearest, references
from worker.observability.orders_lag import OrdersCounts, count_orders
from worker.observability.text import visible
from worker.redis_client.store import Store
from worker.streams.publishing import RejectedEvent, rejected_events

_REJECTED_LOOKED_AT = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The shipments that a key finds; without any, possible causes. `by_reference`: the key is their reference."""

    records: tuple[Record, ...]
    by_reference: bool = True
    files: FilesOfRecords = field(default_factory=FilesOfRecords)
    rejected: tuple[RejectedEvent, ...] = ()
    orders: OrdersCounts | None = None
    nearest: tuple[str, ...] = ()


async def find_shipments(store: Store, settings: Settings, key: str, merchant: str | None) -> Found:
    """The shipments of a reference, an order number or the id of an event; of one merchant, or None for all."""
    redis = store.redis
    candidates = [merchant] if merchant else await known_merchants(redis, settings.merchants_dir)
    hits = [(name, key) for name in await merchants_of(redis, key, candidates)]
    by_reference = bool(hits)
    if not by_reference:
        hits = await find_order(redis, settings, key, candidates)
    records = [await read_record(redis, settings, name, each) for name, each in hits]
    found = tuple(record for record in records if record)
    if found:
        return Found(records=found, by_reference=by_reference, files=await read_files(redis, settings, found))
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


def advice(found: Found) -> Iterator[str]:
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
