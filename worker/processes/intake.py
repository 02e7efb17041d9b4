"""Intake: reads order events from the orders stream and writes their shipments to the ledger."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence

import structlog

from config.settings import Settings
from tasks.rules.order import Rejection
from tasks.work.messages import StartMessage
from worker.dispatch.dispatcher import Dispatcher
from worker.ledger.format import check_format
from worker.ledger.ledger import Ledger
from worker.observability.heartbeat import (
    HEARTBEAT_EVERY_S,
    publish_heartbeat,
    remove_heartbeat_file,
    touch_heartbeat_file,
    withdraw_heartbeat,
)
from worker.observability.watchdog import EXITS, STALLED_S, Watchdog
from worker.processes.event_sorting import ClassifiedEvents, as_json, classify, rejected_as
from worker.processes.limits import Limits
from worker.processes.merchant_files import MerchantFiles
from worker.processes.stored_files import StoredFiles
from worker.redis_client.store import RedisError, Store
from worker.streams.orders import GROUP, MAX_ENDED, Entry, OrdersStream
from worker.streams.upkeep import keep_lost, tell_of_lost

ENDED_INTAKES = Rejection(reason="bad_order", error=f"{MAX_ENDED} intakes terminated while processing only this event")

LOG_EVERY_S = 1.0
"""Minimum time between two `orders_accepted` lines."""

log = structlog.get_logger(__name__)


class Intake:
    """Reads and accepts orders until it is stopped; sends start messages while no claim loop runs."""

    def __init__(self, settings: Settings, store: Store, dispatcher: Dispatcher, ledger: Ledger) -> None:
        """Reads nothing yet."""
        self._settings = settings
        self._orders = OrdersStream(store, settings.orders_stream, settings.lease_seconds)
        self._store = store
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._merchants = MerchantFiles(settings.merchants_dir, settings.http_hosts)
        self._limits = Limits(ledger, self._merchants)
        self._stored_files = StoredFiles(store, self._merchants, settings)
        self._stopping = asyncio.Event()
        self._start: StartMessage | None = None
        self._start_requested = asyncio.Event()
        self._reclaim_at = 0.0
        self._beat_at = 0.0
        self._watchdog = Watchdog()
        self._interrupted = False
        self._position = ""
        self._counts = Counter[str]()
        self._logged_at = float("-inf")

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; entries that were read are finished first."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        starting = asyncio.create_task(self._start_children())
        watching = asyncio.create_task(self._watch())
        while not self._stopping.is_set():
            try:
                await self._orders.make_group()
                await tell_of_lost(self._store, self._settings)
                await self._serve()
            except (RedisError, OSError) as error:
                # Entries that were read and not acknowledged stay pending for this consumer, and are reclaimed.
                self._log_interruption(error)
                await asyncio.sleep(0.5)
        watching.cancel()
        await starting
        await self._leave()
        await withdraw_heartbeat(self._store, "intake", os.getpid())
        remove_heartbeat_file("intake")

    def _log_interruption(self, error: Exception) -> None:
        """Log the first failure until orders can be read again."""
        if not self._interrupted:
            self._interrupted = True
            log.warning("intake_interrupted", error=str(error), next="intake resumes when Redis is available again")

    def _stop(self) -> None:
        self._stopping.set()
        self._start_requested.set()

    async def _serve(self) -> None:
        while not self._stopping.is_set():
            await self._beat()
            if time.monotonic() >= self._reclaim_at:
                self._reclaim_at = time.monotonic() + self._settings.lease_seconds / 4
                await self._reclaim()
            await self._accept_entries(await self._orders.read())
            self._watchdog.progress()
            self._interrupted = False

    async def _reclaim(self) -> None:
        async for found in self._orders.reclaim():
            if found.lost:
                await keep_lost(self._store, self._settings)
                log.error("orders_lost", stream_ids=found.lost, why="trimmed or deleted before they were accepted")
            if not found.alone:
                await self._accept_entries(found.entries)
                continue
            ((stream_id, fields),) = found.entries
            if await self._orders.ended_with(stream_id) >= MAX_ENDED:
                await self._reject(stream_id, fields)
            else:
                await self._accept_entries(found.entries)
            await self._orders.is_done(stream_id)

    async def _reject(self, stream_id: str, fields: dict[bytes, bytes]) -> None:
        event = fields.get(b"event") or as_json(fields)
        await self._accept(ClassifiedEvents(rejected=[rejected_as(stream_id, event, ENDED_INTAKES)]), [stream_id])

    async def _beat(self) -> None:
        if time.monotonic() >= self._beat_at:
            self._beat_at = time.monotonic() + HEARTBEAT_EVERY_S
            touch_heartbeat_file("intake")
            await check_format(self._store.redis)
            await publish_heartbeat(self._store, "intake", os.getpid(), self._position, self._merchants.in_use())

    async def _watch(self) -> None:
        """End the process if it makes no progress although Redis responds."""
        while True:
            await asyncio.sleep(STALLED_S / 6)
            if self._watchdog.is_stalled() and await self._redis_responds():
                log.error("intake_stalled", seconds=STALLED_S, next=EXITS)
                os._exit(1)

    async def _redis_responds(self) -> bool:
        try:
            return bool(await self._store.redis.ping())
        except (RedisError, OSError):
            return False

    async def _accept_entries(self, entries: Sequence[Entry]) -> None:
        if entries:
            await self._store.retry(self._stored_files.sync, self._settings.lease_seconds)
        for classified, ids in classify(entries, self._merchants):
            await self._store.retry(self._limits.write, self._settings.lease_seconds)
            await self._accept(classified, ids)

    async def _accept(self, classified: ClassifiedEvents, ids: Sequence[str]) -> None:
        fresh, start = await self._store.retry(
            lambda: self._ledger.accept(classified.accepted, classified.rejected, ids, GROUP, classified.ignored),
            self._settings.lease_seconds,
        )
        self._position = ids[-1]
        if start:
            self._start = start
            self._start_requested.set()
        self._log(classified, fresh)

    async def _start_children(self) -> None:
        """Send start messages, concurrently with reading."""
        while not self._stopping.is_set():
            await self._start_requested.wait()
            self._start_requested.clear()
            start, self._start = self._start, None
            try:
                if start:
                    await self._dispatcher.start(start)
            except Exception:
                log.exception("dispatch_crashed", next="retried with the next orders or the next sweep")

    def _log(self, classified: ClassifiedEvents, fresh: int) -> None:
        """Log each rejected event, and the accepted ones in at most one line a second."""
        for rejected in classified.rejected:
            log.warning(
                "order_rejected", stream_id=rejected.stream_id, reason=rejected.reason, error=rejected.error[:300]
            )
        self._counts += Counter(shipments=fresh, known=len(classified.accepted) - fresh, ignored=classified.ignored)
        if time.monotonic() >= self._logged_at + LOG_EVERY_S and self._counts.total():
            log.info("orders_accepted", **self._counts)
            self._counts.clear()
            self._logged_at = time.monotonic()

    async def _leave(self) -> None:
        try:
            await self._orders.leave()
        except (RedisError, OSError) as error:
            log.warning("intake_unclean_shutdown", error=str(error), next="another intake reclaims its pending entries")
