"""The ledger and its schedule in Redis: the truth about every shipment."""

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import structlog
from pydantic_core import to_json

from config.settings import Settings
from tasks.ports import Handover, Permit, PermitRequest, Report, Taken
from tasks.shipment import KEPT_FIRST, KEPT_LAST, Shipment, from_ledger, slot
from worker.coalesce import Coalesced
from worker.store import PASSING, PREFIX, Store

MOST_PER_ROUND_TRIP = 100
LONGEST_SLOT_WAIT_S = 1.0
"""How long a call may wait inside a task for its place within a merchant's calls per second."""

FARTHEST_WAIT_S = 2 * 3600
"""No shipment is parked for longer at a time; a due time beyond that means that a clock has jumped."""

_FIELDS = ("facts", "received", "published", "progress", "step", "doubt", "lost", "replays", "unsure")

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """An event for the rejected stream."""

    stream_id: str
    event: bytes
    reason: str
    error: str


class Accepted(NamedTuple):
    """A shipment for the ledger. `published`: seconds since the epoch, when the event said so."""

    merchant: str
    reference: str
    facts: str
    asks: str
    published: float | None


class Ledger:
    """Reads and writes the ledger; one per event loop."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """No round trip is made."""
        self._store = store
        self._settings = settings
        self._lease_ms = round(settings.lease_seconds * 1000)
        self._clock_ahead_s = time.time() - time.monotonic()
        self._permits = Coalesced(self._hold, MOST_PER_ROUND_TRIP)
        self._reports = Coalesced(self._report_many, MOST_PER_ROUND_TRIP)

    def now(self) -> float:
        """Seconds since the epoch by the server's clock, as of the last round trip that told it."""
        return time.monotonic() + self._clock_ahead_s

    def _set_clock(self, server_ms: int) -> None:
        self._clock_ahead_s = server_ms / 1000 - time.monotonic()

    async def accept(
        self,
        accepted: Sequence[Accepted],
        rejected: Sequence[Rejected],
        stream_ids: Sequence[str],
        group: str,
        not_ours: int = 0,
    ) -> int:
        """Take one read of the orders stream, all or nothing; returns how many shipments were new."""
        args: list[Any] = [group, len(accepted), len(rejected), not_ours]
        for new in accepted:
            published = "" if new.published is None else f"{new.published:.3f}"
            args += [new.merchant, new.reference, new.facts, published, new.asks]
        for bad in rejected:
            args += [bad.stream_id, bad.event, bad.reason, bad.error]
        keys = [self._settings.orders_stream, self._settings.rejected_stream]
        return int(await self._store.run("accept", keys, [*args, *stream_ids]))

    async def claim(self, most_batches: int) -> list[Handover]:
        """Claim what is due, merchant by merchant in turn, for messages that are about to be sent."""
        return [_claimed(*batch) for batch in await self._store.run("claim", [], self._claim_args(most_batches))]

    def _claim_args(self, most_batches: int) -> list[Any]:
        farthest_ms = max(FARTHEST_WAIT_S * 1000, 2 * self._lease_ms)
        return [self._lease_ms, self._settings.batch, most_batches, uuid.uuid4().hex[:12], farthest_ms]

    async def take(self, handover: Handover, claim: int = 0) -> Taken:
        """Take the shipments of a message, as far as its token still holds, under a new token of our own.

        In the same round trip, claim so many batches to be sent in its place.
        """
        task = uuid.uuid4().hex[:12]
        step = "" if handover.step is None else handover.step
        taking = [handover.merchant, handover.token, task, step, *handover.references]
        # What a try claimed whose answer was lost comes back with its lease: the next try claims nothing more.
        tries = iter([claim])
        answer = await self._store.insist(
            lambda: self._store.run("take", [], [*self._claim_args(next(tries, 0)), *taking]),
            self._settings.lease_seconds,
        )
        self._set_clock(int(answer[0]))
        return Taken(
            task=task,
            paused=json.loads(answer[1])["why"] if answer[1] else "",
            shipments=tuple(
                from_ledger(handover.merchant, reference.decode(), dict(zip(_FIELDS, record, strict=True)))
                for reference, *record in answer[3:]
            ),
            claimed=tuple(_claimed(*batch) for batch in answer[2]),
        )

    async def permit(self, request: PermitRequest) -> Permit:
        """Whether the task still holds the shipment and when it may call; notes that a call is going out."""
        return await self._permits.ask(request)

    async def report(self, report: Report) -> bool:
        """Write what became of a shipment; False when the task does not hold it any more."""
        return await self._reports.ask(report)

    async def permit_all(self, requests: Sequence[PermitRequest]) -> list[Permit]:
        """As `permit`, for each, in their order."""
        return [permit for some in _round_trips(requests) for permit in await self._hold(some)]

    async def permit_together(self, requests: Sequence[PermitRequest]) -> list[Permit]:
        """As `permit_all`, for one call; when the first may not call, the others are not asked for and not answered."""
        return await self._hold(requests, together=True)

    async def report_all(self, reports: Sequence[Report]) -> list[bool]:
        """As `report`, for each, in their order."""
        return [written for some in _round_trips(reports) for written in await self._report_many(some)]

    async def renew(self, held: Sequence[tuple[Shipment, str]]) -> None:
        """Renew the leases of shipments that are being worked on."""
        await self.permit_all([PermitRequest(shipment=shipment, task=task, purpose="renew") for shipment, task in held])

    async def _hold(self, asked: Sequence[PermitRequest], *, together: bool = False) -> list[Permit]:
        args: list[Any] = [self._lease_ms, round(LONGEST_SLOT_WAIT_S * 1000), "together" if together else ""]
        for request in asked:
            shipment = request.shipment
            args += [shipment.merchant, shipment.reference, request.task]
            args += [request.purpose, request.per_second, request.api]
        patience_s = self._settings.lease_seconds / 2
        try:
            flat = await self._store.insist(lambda: self._store.run("hold", [], args), patience_s)
        except PASSING as error:
            _give_up(len(asked), error)
            return [Permit(held=False)] * len(asked)
        return [_permit(word, wait) for word, wait in zip(flat[::2], flat[1::2], strict=True)]

    async def _report_many(self, reports: Sequence[Report]) -> list[bool]:
        args: list[Any] = [self._lease_ms, round(self._settings.keep_days * 86400)]
        for report in reports:
            args += _report_args(report)
        keys = [self._settings.allocated_stream, self._settings.failed_stream]
        patience_s = self._settings.lease_seconds
        try:
            written = await self._store.insist(lambda: self._store.run("report", keys, args), patience_s)
        except PASSING as error:
            _give_up(len(reports), error)
            return [False] * len(reports)
        return [bool(one) for one in written]

    async def story(self, shipment: Shipment) -> list[dict[str, Any]]:
        """The kept entries of a shipment's story, oldest first."""
        entries = shipment.progress.entries
        first = range(1, min(entries, KEPT_FIRST) + 1)
        last = range(max(KEPT_FIRST, entries - KEPT_LAST) + 1, entries + 1)
        slots = [slot(entry) for entry in (*first, *last)]
        if not slots:
            return []
        key = f"{PREFIX}shipment:{shipment.merchant}:{shipment.reference}"
        found = await self._store.insist(lambda: self._store.redis.hmget(key, slots), self._settings.lease_seconds)
        return [json.loads(entry) for entry in found if entry]

    async def set_limits(self, merchant: str, in_flight: int, per_second: float) -> None:
        """Tell the hand-out a merchant's limits; 0 means none."""
        key = f"{PREFIX}limits:{merchant}"
        if in_flight or per_second:
            await self._store.redis.hset(key, mapping={"in_flight": in_flight, "per_second": per_second})
        else:
            await self._store.redis.delete(key)

    async def pause(self, merchant: str, why: str, digest: str) -> bool:
        """Pause a merchant until its key or file changes; False when it was paused already."""
        paused = json.dumps({"why": why, "digest": digest, "since": round(self.now(), 3)})
        patience_s = self._settings.lease_seconds
        new = await self._store.insist(
            lambda: self._store.redis.hsetnx(f"{PREFIX}paused", merchant, paused), patience_s
        )
        return bool(new)

    async def paused(self) -> dict[str, dict[str, Any]]:
        """The paused merchants: why, since when, and the digest of file and key at that time."""
        found: Any = await self._store.redis.hgetall(f"{PREFIX}paused")
        return {merchant.decode(): json.loads(text) for merchant, text in found.items()}

    async def resume(self, merchant: str) -> int:
        """Lift a pause and make the merchant's parked shipments due; returns how many."""
        total = 0
        while moved := int(await self._store.run("resume", [], [merchant, 1000])):
            total += moved
        return total


def _give_up(shipments: int, error: Exception) -> None:
    """The server was away for so long that, for all we know, the shipments are another's by now."""
    log.warning("leases_given_up", shipments=shipments, error=str(error), next="the sweep brings them back")


def _round_trips(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """What is asked or told, in the portions of one script call each."""
    for start in range(0, len(items), MOST_PER_ROUND_TRIP):
        yield items[start : start + MOST_PER_ROUND_TRIP]


def _permit(word: bytes, wait_ms: int) -> Permit:
    """Beyond our patience a wait is spent in the schedule, not in a task."""
    wait_s = wait_ms / 1000
    return Permit(held=word != b"lost", wait_s=wait_s, park=word in (b"wait", b"open"), open=word == b"open")


def _claimed(merchant: bytes, token: bytes, asks: bytes, *references: bytes) -> Handover:
    return Handover(
        merchant=merchant.decode(),
        shipments=len(references),
        strategy=asks.decode(),
        token=token.decode(),
        references=tuple(reference.decode() for reference in references),
    )


def _report_args(report: Report) -> list[Any]:
    shipment, progress = report.shipment, report.shipment.progress
    entry = b"" if report.entry is None else to_json(report.entry)
    return [
        shipment.merchant,
        shipment.reference,
        report.task,
        report.verdict,
        round(report.due * 1000),
        progress.step,
        progress.as_json(),
        str(shipment.strategy),
        slot(max(1, progress.entries)),
        entry,
        report.event,
        report.reason,
        report.api,
        report.answer,
    ]
