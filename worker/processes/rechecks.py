"""Rechecks the carriers of shipments that were asked for again: an earlier open call may have changed them late."""

import asyncio
import json
import uuid
from typing import Any

import structlog

from config.settings import Settings
from tasks.rules.outcome import PERMIT_EXPIRED, Allocated, Carrier, Feedback, Finding, NotSent, signal_of
from tasks.rules.shipment import entry_field, iso
from tasks.work.clock import boottime
from tasks.work.ports import Account, PermitRequest, Report, Request
from worker.carrier_api.client import CarrierApi
from worker.ledger import keys
from worker.ledger.arguments import RecheckArgs
from worker.ledger.ledger import HOST, Ledger
from worker.ledger.records import Record, Settled, read_record
from worker.ledger.scripts import DUE_RECHECKS
from worker.processes.merchant_files import MerchantFiles
from worker.redis_client.store import TRANSIENT_ERRORS, Store

MAX_PER_RUN = 20
"""Most rechecks in one run; each is one request."""

RETRY_S = 60.0
GIVE_UP_S = 3600.0
"""How long after its due time a failed recheck is retried."""

_WRITTEN_WITHIN_S = 1.0
_NAMES = ("service_reference", "reference")

log = structlog.get_logger(__name__)


class Rechecks:
    """Reads back shipments that two calls may have booked, and compares their carriers.

    Merchant limits, breakers and pauses apply, as for every read-back.
    """

    def __init__(
        self, store: Store, ledger: Ledger, api: CarrierApi, merchants: MerchantFiles, settings: Settings
    ) -> None:
        """Reads nothing yet."""
        self._store = store
        self._ledger = ledger
        self._api = api
        self._merchants = merchants
        self._settings = settings
        self._working: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Run the due rechecks in the background, unless a run is active."""
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Cancel the run; its rechecks stay due and are done by another process."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

    async def _work(self) -> None:
        found: list[BaseException | None]
        try:
            # Claims rechecks for `RETRY_S`; if this process dies, another one makes them after that.
            now_ms, *due = await self._store.run(DUE_RECHECKS, [], RecheckArgs(MAX_PER_RUN, round(RETRY_S * 1000)))
            paused = await self._ledger.paused() if due else {}
            checks = (self._recheck(name.decode(), int(now_ms) / 1000, paused) for name in due)
            found = await asyncio.gather(*checks, return_exceptions=True)
        except TRANSIENT_ERRORS as error:
            found = [error]
        for raised in found:
            if isinstance(raised, BaseException):
                log.warning("recheck_failed", error=repr(raised), next="a later sweep tries again")

    async def _recheck(self, name: str, now: float, paused: dict[str, Any]) -> None:
        merchant, _, reference = name.partition(":")
        account = self._merchants.account(merchant)
        record = await read_record(self._store.redis, self._settings, merchant, reference)
        event = _event_of(record)
        if record is None or event is None:
            await self._forget(name)
            return
        finding: Finding | None = None
        if account is not None and account.key is not None and merchant not in paused:
            finding = await self._read(account, record)
        if isinstance(finding, Allocated):
            await self._compare(record, finding, event)
            await self._forget(name)
        elif now - _due(record, account) > GIVE_UP_S:
            log.warning("carrier_recheck_abandoned", merchant=merchant, shipment=reference)
            await self._forget(name)

    async def _forget(self, name: str) -> None:
        await self._store.redis.zrem(keys.RECHECKS, name)

    async def _read(self, account: Account, record: Record) -> Finding | None:
        """The finding of a read-back; None if no request is permitted now."""
        limits, shipment = account.merchant.file.limits, record.shipment
        token, requested_at = f"{HOST}.{uuid.uuid4().hex[:12]}", boottime()
        permit = await self._ledger.may_read(
            PermitRequest(
                shipment=shipment,
                lease_token=token,
                purpose="read",
                per_second=limits.per_second,
                in_flight=limits.in_flight,
                api=account.api,
            )
        )
        if not permit.may_call:
            return None
        await asyncio.sleep(permit.wait_s)
        request = Request(references=[shipment.reference], write_by=requested_at + _WRITTEN_WITHIN_S)
        finding = await self._api.read_back(account, request)
        # The shipment is not leased, so only the feedback and the slot of this report are written.
        report = Report(
            shipment=shipment, lease_token=token, verdict="keep", api=account.api, feedback=_feedback(finding)
        )
        await self._ledger.report(report._replace(slot=permit.slot))
        return finding

    async def _compare(self, record: Record, found: Allocated, event: dict[str, Any]) -> None:
        """Log a changed carrier, and write the recheck to the shipment's history either way."""
        published, now = event["carrier"] or {}, found.carrier or Carrier()
        compared = [name for name in _NAMES if published.get(name) and getattr(now, name)]
        changed = any(published[name] != getattr(now, name) for name in compared)
        if changed:
            log.error(
                "carrier_changed",
                merchant=record.shipment.merchant,
                shipment=record.shipment.reference,
                told=published.get(_NAMES[0]),
                now=now.service_reference,
                next="the API booked the shipment twice; cancel one of the two bookings there",
            )
        outcome = "carrier changed" if changed else "same carrier" if compared else "carrier not named"
        await self._write(record, outcome, now.service_reference or now.reference, changed=changed)

    async def _write(self, record: Record, outcome: str, carrier: str | None, *, changed: bool) -> None:
        shipment = record.shipment
        key = keys.record(shipment.merchant, shipment.reference)
        entries = shipment.progress.entries + 1
        entry = {"at": iso(self._ledger.now()), "action": "recheck", "outcome": outcome, "message": carrier}
        fields: Any = {
            entry_field(entries): json.dumps(entry),
            "progress": shipment.with_progress(entries=entries).progress.as_json(),
        }
        pipe = self._store.redis.pipeline(transaction=True)
        pipe.hset(key, mapping=fields)
        # If the record has expired meanwhile, this write recreates it: let it expire again.
        pipe.expire(key, round(self._settings.keep_days * 86400))
        if changed:
            pipe.hincrby(keys.counts(shipment.merchant), "carrier_changed", 1)
        await pipe.execute()


def _feedback(finding: Finding) -> Feedback:
    was_sent = not (isinstance(finding, NotSent) and finding.reason == PERMIT_EXPIRED)
    retry_after_s = getattr(finding, "retry_after_s", None) or 0.0
    return Feedback(signal=signal_of(finding) if was_sent else "", purpose="read", retry_after_s=retry_after_s)


def _event_of(record: Record | None) -> dict[str, Any] | None:
    """The data of the published `allocated` event; None if the shipment is not allocated or the event is not kept."""
    if record is None or record.unreadable or not isinstance(record.where, Settled):
        return None
    if record.where.state != "allocated" or record.where.event is None:
        return None
    data: dict[str, Any] = record.where.event["data"]
    return data


def _due(record: Record, account: Account | None) -> float:
    """When the recheck was due, in seconds since the epoch."""
    settled_at = record.where.at if isinstance(record.where, Settled) else 0.0
    return settled_at + (account.merchant.file.retry.quiet_s if account else 0.0)
