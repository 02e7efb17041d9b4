"""Permits and reports of lease holders, many in a round trip."""

import json
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Any

import structlog

from config.settings import Settings
from tasks.rules.portions import portions
from tasks.rules.shipment import KEPT_FIRST, KEPT_LAST, Shipment, entry_field
from tasks.work.ports import Permit, PermitRequest, Report
from worker.ledger import keys, rows
from worker.ledger.arguments import PermitArgs, RenewArgs, RenewRow, ReportArgs
from worker.ledger.coalesce import Coalesced
from worker.ledger.pauses import Pauses
from worker.ledger.scripts import PERMIT, RENEW, REPORT
from worker.redis_client.store import TRANSIENT_ERRORS, Store

MAX_PER_ROUND_TRIP = 100
MAX_RATE_WAIT_S = 0.5
"""How long a call may wait inside a task for a slot of the merchant's calls per second."""

MAX_CALL_OF_LEASE = 0.6
"""No call lasts longer than this share of a lease, which is renewed right before it."""

log = structlog.get_logger(__name__)


class Leases(Pauses):
    """The part of the ledger for leased shipments."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """No round trip is made."""
        super().__init__(store, settings)
        self._max_call_ms = round(settings.lease_seconds * MAX_CALL_OF_LEASE * 1000)
        self._permits = Coalesced(self._permit_many, MAX_PER_ROUND_TRIP)
        self._reports = Coalesced(self._report_many, MAX_PER_ROUND_TRIP)

    def permit(self, request: PermitRequest) -> Awaitable[Permit]:
        """Whether the lease is valid and when the call may be made; notes the call in the lease token."""
        return self._permits.submit(request)

    def report(self, report: Report) -> Awaitable[bool]:
        """Write the result of a shipment; False when the lease is no longer valid."""
        return self._reports.submit(report)

    async def permit_all(self, requests: Sequence[PermitRequest]) -> list[Permit]:
        """As `permit`, for each, in their order."""
        return [permit for some in portions(requests, MAX_PER_ROUND_TRIP) for permit in await self._permit_many(some)]

    async def permit_bulk(self, requests: Sequence[PermitRequest]) -> list[Permit]:
        """As `permit_all`, for one call; if the first may not call, the others get no reply."""
        return await self._permit_many(requests, is_bulk=True)

    async def report_all(self, reports: Sequence[Report]) -> list[bool]:
        """As `report`, for each, in their order."""
        return [written for some in portions(reports, MAX_PER_ROUND_TRIP) for written in await self._report_many(some)]

    async def renew(self, leased: Sequence[tuple[Shipment, str]]) -> None:
        """Renew the leases of shipments that are being worked on, each with its lease token."""
        for some in portions(leased, MAX_PER_ROUND_TRIP):
            args: list[Any] = [*RenewArgs(self._lease_ms)]
            for shipment, lease_token in some:
                args += RenewRow(shipment.merchant, shipment.reference, lease_token)
            try:
                await self._store.retry(partial(self._store.run, RENEW, [], args), self._settings.lease_seconds / 2)
            except TRANSIENT_ERRORS as error:
                _give_up(len(some), error)

    async def may_read(self, request: PermitRequest) -> Permit:
        """Whether a shipment without a lease may be read back now; a report releases the slot."""
        return (await self._permit_many([request], is_unowned=True))[0]

    async def _permit_many(
        self, requests: Sequence[PermitRequest], *, is_bulk: bool = False, is_unowned: bool = False
    ) -> list[Permit]:
        max_wait_ms = round(MAX_RATE_WAIT_S * 1000)
        args: list[Any] = [*PermitArgs(self._lease_ms, max_wait_ms, self._max_call_ms, int(is_bulk))]
        for request in requests:
            args += rows.permit_row(request, "unowned_read" if is_unowned else request.purpose)
        patience_s = self._settings.lease_seconds / 2
        try:
            flat = await self._store.retry(lambda: self._store.run(PERMIT, [], args), patience_s)
        except TRANSIENT_ERRORS as error:
            _give_up(len(requests), error)
            return [Permit(owned=False)] * len(requests)
        return [rows.permit(word, wait_ms) for word, wait_ms in zip(flat[::2], flat[1::2], strict=True)]

    async def _report_many(self, reports: Sequence[Report]) -> list[bool]:
        args: list[Any] = [*ReportArgs(self._lease_ms, round(self._settings.keep_days * 86400))]
        for report in reports:
            args += rows.report_row(report)
        streams = [self._settings.allocated_stream, self._settings.failed_stream]
        try:
            written = await self._store.retry(
                lambda: self._store.run(REPORT, streams, args), self._settings.lease_seconds
            )
        except TRANSIENT_ERRORS as error:
            _give_up(len(reports), error)
            return [False] * len(reports)
        return [bool(one) for one in written]

    async def history(self, shipment: Shipment) -> list[dict[str, Any]]:
        """The stored entries of a shipment's history, oldest first."""
        entries = shipment.progress.entries
        first = range(1, min(entries, KEPT_FIRST) + 1)
        last = range(max(KEPT_FIRST, entries - KEPT_LAST) + 1, entries + 1)
        slots = [entry_field(entry) for entry in (*first, *last)]
        if not slots:
            return []
        key = keys.record(shipment.merchant, shipment.reference)
        found = await self._store.retry(lambda: self._store.redis.hmget(key, slots), self._settings.lease_seconds)
        return [json.loads(entry) for entry in found if entry]


def _give_up(shipments: int, error: Exception) -> None:
    """The server was unavailable for long enough that the leases may have expired."""
    log.warning("leases_abandoned", shipments=shipments, error=str(error), next="the sweep brings them back")
