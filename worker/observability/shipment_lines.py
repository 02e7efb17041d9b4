"""A shipment's record as named lines, for `allocation explain` and its page. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from worker.ledger.records import Record, Settled
from worker.observability.files_of_records import FilesOfRecords
from worker.observability.shipment_text import path, whereabouts
from worker.observability.text import clock, count


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A named text; without a name it continues the line before. `href`: a link of the API, which may be anything."""

    name: str
    text: str
    href: str | None = None


def shipment_lines(record: Record, files: FilesOfRecords) -> Iterator[Line]:
    """Everything about a shipment but its history. Texts may come from orders: escape them."""
    shipment = record.shipment
    if record.unreadable:
        yield Line(name="record", text=f"this version cannot parse it: {record.unreadable}")
    yield Line(name="order", text=f"{shipment.order}, event {shipment.order_event}")
    yield Line(name="received", text=clock(shipment.received) + _replayed(record))
    yield Line(name="api", text=shipment.api)
    yield Line(name="file", text=_version(record, files))
    yield Line(name="rule", text=f"{shipment.rule}: {record.why}")
    yield from _rules_before(record, files)
    yield Line(name="facts", text=", ".join(f"{name} {_plain(fact)}" for name, fact in record.facts.items()))
    yield Line(name="plan", text=path(record))
    yield Line(name="now", text=whereabouts(record, files.retry(record)))
    yield from _allocated(record)
    for name, order in (("cancelled", record.cancelled), ("dismissed", record.dismissed), ("on hold", record.on_hold)):
        if order:
            yield Line(name=name, text=order)
    if repeated := shipment.progress.repeated_calls:
        text = "after an open one: an API that acts even later books twice"
        yield Line(name="repeated", text=f"{count(repeated, 'call')} {text}")


def _replayed(record: Record) -> str:
    replays = record.shipment.replays
    return f", when it was requeued ({count(replays, 'replay')})" if replays else ""


def _version(record: Record, files: FilesOfRecords) -> str:
    chosen, in_use = record.shipment.merchant_file, files.version_in_use(record)
    if chosen is None or in_use is None:
        return f"version {chosen or 'unknown'}"
    return f"version {chosen}, " + ("in use" if chosen == in_use else f"replaced by {in_use}")


def _rules_before(record: Record, files: FilesOfRecords) -> Iterator[Line]:
    if record.unreadable:
        return
    before = files.rules_before(record)
    if before is None:
        version = record.shipment.merchant_file or "unknown"
        yield Line(name="before", text=f"version {version} of the file is no longer kept: earlier rules are unknown")
    for number, (rule, reason) in enumerate(before or ()):
        yield Line(name="" if number else "before", text=f"{rule} did not match: {reason}")


def _plain(fact: Any) -> str:
    return " ".join(fact) if isinstance(fact, list) else str(fact)


_KEY_HEADERS = {"shipments-v2": "x-api-key", "consignments-v1": "ocp-apim-subscription-key"}


def _allocated(record: Record) -> Iterator[Line]:
    """Price and label links of an allocated shipment, as far as its event has them."""
    event = record.where.event if isinstance(record.where, Settled) else None
    data = event["data"] if event else {}
    if price := data.get("price"):
        yield Line(name="price", text=f"{price['net']} net, {price['gross']} gross, {price['currency']}")
    for label in data.get("labels", ()):
        yield Line(name="label", text=f"{label['href']} ({label['format']})", href=label["href"])
    if data.get("labels") and data.get("api") in _KEY_HEADERS:
        header = _KEY_HEADERS[data["api"]]
        yield Line(name="", text=f"fetch labels with the header {header}: the merchant's API key")
