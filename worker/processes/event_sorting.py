"""Classifies stream entries: shipments to accept, rejections, ignored events."""

import time
from base64 import b64encode
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from pydantic_core import to_json

from config.merchant_files.merchant_file import Merchant
from tasks.rules.order import KEPT_OF_TOO_LARGE_BYTES, MAX_EVENT_BYTES, IgnoredEvent, Order, Rejection, parse_order
from tasks.rules.plan import choose, facts_of
from tasks.rules.shipment import intake_record, published_s
from worker.ledger.rows import Accepted
from worker.ledger.stream_arguments import RejectedRow
from worker.processes.merchant_files import MerchantFiles
from worker.streams.orders import Entry

NO_EVENT = Rejection(reason="bad_envelope", error="the stream entry has no field 'event'")

MAX_SHIPMENTS, MAX_REJECTED_BYTES = 2000, 4 * 1024 * 1024
"""Limits of one ledger script: events can expand to far more data than they contain."""


@dataclass(kw_only=True, slots=True)
class ClassifiedEvents:
    """Classified stream entries, for one ledger script."""

    accepted: list[Accepted] = field(default_factory=list)
    rejected: list[RejectedRow] = field(default_factory=list)
    ignored: int = 0
    rejected_bytes: int = 0

    @property
    def is_full(self) -> bool:
        """Whether the limits of one script are reached."""
        return len(self.accepted) >= MAX_SHIPMENTS or self.rejected_bytes >= MAX_REJECTED_BYTES

    def reject(self, rejected: RejectedRow) -> None:
        """Add an entry for the rejected stream."""
        self.rejected.append(rejected)
        self.rejected_bytes += len(rejected.event) + len(rejected.event_base64)


def classify(entries: Sequence[Entry], merchants: MerchantFiles) -> Iterator[tuple[ClassifiedEvents, list[str]]]:
    """Classify entries; yields portions that fit one ledger script, with their stream ids."""
    result, ids = ClassifiedEvents(), list[str]()
    read_at = time.monotonic()
    for stream_id, fields in entries:
        _classify_entry(stream_id, fields, lambda name: merchants.get(name, since=read_at), result)
        ids.append(stream_id)
        if result.is_full:
            yield result, ids
            result, ids = ClassifiedEvents(), []
    if ids:
        yield result, ids


def _classify_entry(
    stream_id: str, fields: dict[bytes, bytes], find: Callable[[str], Merchant | None], result: ClassifiedEvents
) -> None:
    """Accept or reject one entry as a whole."""
    event = fields.get(b"event")
    if event is None:
        result.reject(rejected_as(stream_id, as_json(fields), NO_EVENT))
    else:
        _classify_event(stream_id, event, find, result)


def _classify_event(
    stream_id: str, event: bytes, find: Callable[[str], Merchant | None], result: ClassifiedEvents
) -> None:
    match parse_order(event):
        case Order() as order:
            _classify_order(stream_id, event, order, find(order.data.merchant), result)
        case Rejection() as rejection:
            result.reject(rejected_as(stream_id, event, rejection))
        case IgnoredEvent():
            result.ignored += 1


def _classify_order(
    stream_id: str, event: bytes, order: Order, merchant: Merchant | None, result: ClassifiedEvents
) -> None:
    if merchant is None:
        error = f"data.merchant: no valid merchant file for {order.data.merchant[:64]!a}"
        rejected = rejected_as(stream_id, event, Rejection(reason="unknown_merchant", error=error))
        result.reject(rejected._replace(merchant=order.data.merchant))
    else:
        result.accepted.extend(_accepted(stream_id, order, merchant))


def _accepted(stream_id: str, order: Order, merchant: Merchant) -> list[Accepted]:
    shipments, published = [], published_s(order)
    earliest_at = min(int(stream_id.partition("-")[0]) / 1000, published or float("inf"))
    for shipment in order.data.shipments:
        facts = facts_of(order.data, shipment)
        plan = choose(merchant.file, facts)
        shipments.append(
            Accepted(
                merchant=merchant.name,
                reference=shipment.reference,
                intake=intake_record(order, facts, plan, merchant.file.api.flavour, merchant.version),
                strategy=str(plan.steps[0]),
                published=published,
                earliest_at=earliest_at,
                order=order.data.order,
                event_id=order.event_id,
            )
        )
    return shipments


def rejected_as(stream_id: str, event: bytes, rejection: Rejection) -> RejectedRow:
    """A row for the rejected stream, with the original event; an event that is too large is cut at a character."""
    is_whole = len(event) <= MAX_EVENT_BYTES
    kept = event if is_whole else event[:KEPT_OF_TOO_LARGE_BYTES]
    readable = getincrementaldecoder("utf-8")("replace").decode(kept, final=is_whole)
    return RejectedRow(
        stream_id=stream_id,
        event=readable,
        reason=rejection.reason,
        error=rejection.error,
        event_base64="" if kept.startswith(readable.encode()) else b64encode(kept).decode(),
    )


def as_json(fields: dict[bytes, bytes]) -> bytes:
    """The fields of an entry as JSON; bytes that are not UTF-8 are replaced."""
    return to_json({name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()})
