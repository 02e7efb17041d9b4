"""The maintenance part of a sweep: resumes merchants, trims streams, records when it ran."""

from collections.abc import Iterator
from typing import Any

import structlog

from config.settings import Settings
from tasks.work.ports import Pause
from worker.ledger import keys
from worker.ledger.ledger import Ledger
from worker.ledger.pauses import NO_KEY
from worker.ledger.records import server_ms
from worker.observability.heartbeat import remove_stopped
from worker.processes.merchant_files import MerchantFiles
from worker.redis_client.store import TRANSIENT_ERRORS, Store
from worker.streams.upkeep import keep_orders

log = structlog.get_logger(__name__)


async def run_maintenance(store: Store, ledger: Ledger, merchants: MerchantFiles, settings: Settings) -> dict[str, Any]:
    """Run maintenance; safe to run concurrently. If Redis is unavailable, logs `maintenance_failed` and returns."""
    try:
        paused = await ledger.paused()
        resumed = [name for name, digest in _changed(paused, merchants) if await ledger.resumed_as(name, digest)]
        for name in resumed:
            log.warning("merchant_resumed", merchant=name, shipments=await ledger.resume(name))
        await _probe(paused.keys() - set(resumed), ledger, merchants)
        await _note_missing_keys(paused, ledger, merchants)
        now_ms = await server_ms(store.redis)
        await _trim_streams(store, settings, now_ms)
        await keep_orders(store, settings, now_ms)
        await remove_stopped(store.redis)
        await store.redis.set(keys.LAST_SWEEP, now_ms)
    except TRANSIENT_ERRORS as error:
        log.warning("maintenance_failed", error=str(error), next="the next sweep tries again")
        return {}
    return {"resumed": resumed} if resumed else {}


def _changed(paused: dict[str, dict[str, Any]], merchants: MerchantFiles) -> Iterator[tuple[str, str]]:
    """Paused merchants whose file or key has changed since the pause, with the new digest."""
    for name, pause in paused.items():
        account = merchants.account(name)
        if account and account.key is not None and account.digest != pause["digest"]:
            yield name, account.digest


async def _probe(paused: set[str], ledger: Ledger, merchants: MerchantFiles) -> None:
    """Start a probe for each paused merchant that is due for one: one shipment tests whether its key works again."""
    for name in paused:
        account = merchants.account(name)
        if account and account.key is not None and (probe := await ledger.probe(name)):
            log.info("merchant_probe_started", merchant=name, shipment=probe)


async def _note_missing_keys(paused: dict[str, dict[str, Any]], ledger: Ledger, merchants: MerchantFiles) -> None:
    """Correct the reason of a pause: a key that was refused may have been removed since."""
    for name, pause in paused.items():
        account = merchants.account(name)
        is_missing = account is not None and account.key is None
        if account and is_missing and pause["why"] != NO_KEY and not await ledger.others_can(name):
            await ledger.pause(name, Pause(why=NO_KEY), account.digest)


async def _trim_streams(store: Store, settings: Settings, now_ms: int) -> None:
    """Trim the allocated, failed and rejected streams, and what is to be dealt with of the latter, by age only."""
    oldest_ms = settings.kept_since(now_ms)
    pipe = store.redis.pipeline(transaction=False)
    for stream in (settings.allocated_stream, settings.failed_stream, settings.rejected_stream):
        pipe.xtrim(stream, minid=str(oldest_ms), approximate=True)
    pipe.zremrangebyscore(keys.REJECTED, "-inf", f"({oldest_ms}")
    await pipe.execute()
