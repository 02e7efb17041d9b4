"""The carriers of shipments that were asked for again, read once more: an open call may have changed them late."""

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
from worker.ledger.ledger import HOST, Ledger
from worker.ledger.records import Record, Settled, read_record
from worker.ledger.scripts import DUE_RECHECKS, RecheckArgs
from worker.processes.merchant_files import MerchantFiles
from worker.redis_client.store import TRANSIENT_ERRORS, Store

AT_ONCE = 20
"""Most rechecks at a time; each is one request."""

NEXT_TRY_S = 60.0
GIVE_UP_S = 3600.0
"""How long after it was due a carrier is tried to be read."""

_WRITTEN_WITHIN_S = 1.0
_NAMES = ("service_reference", "reference")

log = structlog.get_logger(__name__)


class Rechecks:
    """Looks once more at who has a shipment that two calls may have been booked for.

    It keeps to the merchants' limits, and to breakers and pauses, as every read-back does.
    """

    def __init__(
        self, store: Store, ledger: Ledger, api: CarrierApi, merchants: MerchantFiles, settings: Settings
    ) -> None:
        """Nothing is read yet."""
        self._store = store
        self._ledger = ledger
        self._api = api
        self._merchants = merchants
        self._settings = settings
        self._working: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Work beside the caller on what is due, unless that is still going on."""
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Leave the rest to others."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

    async def _work(self) -> None:
        found: list[BaseException | None]
        try:
            # Should this process end meanwhile, another one looks later.
            now_ms, *due = await self._store.run(DUE_RECHECKS, [], RecheckArgs(AT_ONCE, round(NEXT_TRY_S * 1000)))
            paused = await self._ledger.paused() if due else {}
            looks = (self._look(name.decode(), int(now_ms) / 1000, paused) for name in due)
            found = await asyncio.gather(*looks, return_exceptions=True)
        except TRANSIENT_ERRORS as error:
            found = [error]
        for raised in found:
            if isinstance(raised, BaseException):
                log.warning("recheck_failed", error=repr(raised), next="a later sweep tries again")

    async def _look(self, name: str, now: float, paused: dict[str, Any]) -> None:
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
            await self._tell(record, finding, event)
            await self._forget(name)
        elif now - _due(record, account) > GIVE_UP_S:
            log.warning("carrier_recheck_abandoned", merchant=merchant, shipment=reference)
            await self._forget(name)

    async def _forget(self, name: str) -> None:
        await self._store.redis.zrem(keys.RECHECKS, name)

    async def _read(self, account: Account, record: Record) -> Finding | None:
        """What the API says now; None when it may not be asked."""
        limits, shipment = account.merchant.file.limits, record.shipment
        asking, asked = f"{HOST}.{uuid.uuid4().hex[:12]}", boottime()
        permit = await self._ledger.may_read(
            PermitRequest(
                shipment=shipment,
                lease_token=asking,
                purpose="read",
                per_second=limits.per_second,
                in_flight=limits.in_flight,
                api=account.api,
            )
        )
        if not permit.may_call:
            return None
        await asyncio.sleep(permit.wait_s)
        request = Request(references=[shipment.reference], write_by=asked + _WRITTEN_WITHIN_S)
        finding = await self._api.read_back(account, request)
        # Nobody holds it, so of this only what concerns the API is noted.
        report = Report(
            shipment=shipment, lease_token=asking, verdict="keep", api=account.api, feedback=_feedback(finding)
        )
        await self._ledger.report(report._replace(slot=permit.slot))
        return finding

    async def _tell(self, record: Record, found: Allocated, event: dict[str, Any]) -> None:
        """A change is reported; either way the shipment's story says that it was looked at."""
        told, now = event["carrier"] or {}, found.carrier or Carrier()
        named = [name for name in _NAMES if told.get(name) and getattr(now, name)]
        changed = any(told[name] != getattr(now, name) for name in named)
        if changed:
            log.error(
                "carrier_changed",
                merchant=record.shipment.merchant,
                shipment=record.shipment.reference,
                told=told.get(_NAMES[0]),
                now=now.service_reference,
                next="the API booked it twice; cancel one of them there",
            )
        outcome = "carrier changed" if changed else "same carrier" if named else "carrier not named"
        await self._write(record, outcome, now.service_reference or now.reference, changed=changed)

    async def _write(self, record: Record, outcome: str, carrier: str | None, *, changed: bool) -> None:
        shipment = record.shipment
        key = keys.record(shipment.merchant, shipment.reference)
        entries = shipment.progress.entries + 1
        entry = {"at": iso(self._ledger.now()), "action": "recheck", "outcome": outcome, "message": carrier}
        told: Any = {
            entry_field(entries): json.dumps(entry),
            "progress": shipment.with_progress(entries=entries).progress.as_json(),
        }
        pipe = self._store.redis.pipeline(transaction=True)
        pipe.hset(key, mapping=told)
        # Should the record have expired meanwhile, what was written of it does so too.
        pipe.expire(key, round(self._settings.keep_days * 86400))
        if changed:
            pipe.hincrby(keys.counts(shipment.merchant), "carrier_changed", 1)
        await pipe.execute()


def _feedback(finding: Finding) -> Feedback:
    was_sent = not (isinstance(finding, NotSent) and finding.reason == PERMIT_EXPIRED)
    retry_after_s = getattr(finding, "retry_after_s", None) or 0.0
    return Feedback(signal=signal_of(finding) if was_sent else "", purpose="read", retry_after_s=retry_after_s)


def _event_of(record: Record | None) -> dict[str, Any] | None:
    """What was told of an allocated shipment, as long as it is known."""
    if record is None or record.unreadable or not isinstance(record.where, Settled):
        return None
    if record.where.state != "allocated" or record.where.event is None:
        return None
    data: dict[str, Any] = record.where.event["data"]
    return data


def _due(record: Record, account: Account | None) -> float:
    """When its carrier was to be read once more, in seconds since the epoch."""
    settled_at = record.where.at if isinstance(record.where, Settled) else 0.0
    return settled_at + (account.merchant.file.retry.quiet_s if account else 0.0)
