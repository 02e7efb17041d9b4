"""Intake: order-created events from the stream into ledger and schedule."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence

import structlog

from config.settings import Settings
from tasks.rules.order import (
    Rejection,
)
from tasks.work.messages import StartMessage
from worker.dispatch.dispatcher import Dispatcher
from worker.ledger.format import check_format
from worker.ledger.ledger import Ledger
from worker.observability.heartbeat import HEARTBEAT_EVERY_S, leave, tell, touch
from worker.processes.event_sorting import ClassifiedEvents, as_json, portions, rejected_as
from worker.processes.limits import Limits
from worker.processes.merchant_files import MerchantFiles
from worker.redis_client.store import RedisError, Store
from worker.streams.orders import GROUP, MAX_ENDED, Entry, OrdersStream
from worker.streams.upkeep import tell_of_lost

ENDED_INTAKES = Rejection(
    reason="bad_order", error=f"{MAX_ENDED} intakes ended while they had nothing but this event in hand"
)

STALLED_S = 60.0

SAYS_EVERY_S = 1.0
"""How often it is logged what was taken, at the most."""

log = structlog.get_logger(__name__)


class Intake:
    """Reads and accepts, until it is told to stop; starts worker children where none listens."""

    def __init__(self, settings: Settings, store: Store, dispatcher: Dispatcher, ledger: Ledger) -> None:
        """Wire it up; nothing is read yet."""
        self._settings = settings
        self._orders = OrdersStream(store, settings.orders_stream, settings.lease_seconds)
        self._store = store
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._merchants = MerchantFiles(settings.merchants_dir, settings.http_hosts)
        self._limits = Limits(ledger, self._merchants)
        self._stopping = asyncio.Event()
        self._start: StartMessage | None = None
        self._wanted = asyncio.Event()
        self._take_over_at = 0.0
        self._beat_at = 0.0
        self._served_at = time.monotonic()
        self._interrupted = False
        self._position = ""
        self._taken = Counter[str]()
        self._said_at = float("-inf")

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; what is in hand is finished first."""
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
                # What was read but not acknowledged is still in our name and comes back by take_over.
                self._note_interruption(error)
                await asyncio.sleep(0.5)
        watching.cancel()
        await starting
        await self._leave()
        leave("intake")

    def _note_interruption(self, error: Exception) -> None:
        """Once, until the orders can be read again."""
        if not self._interrupted:
            self._interrupted = True
            log.warning("intake_interrupted", error=str(error), next="goes on when the server is back")

    def _stop(self) -> None:
        self._stopping.set()
        self._wanted.set()

    async def _serve(self) -> None:
        while not self._stopping.is_set():
            await self._beat()
            if time.monotonic() >= self._take_over_at:
                self._take_over_at = time.monotonic() + self._settings.lease_seconds / 4
                await self._reclaim()
            await self._take(await self._orders.read())
            self._served_at = time.monotonic()
            self._interrupted = False

    async def _reclaim(self) -> None:
        async for found in self._orders.reclaim():
            if found.lost:
                log.error("orders_lost", stream_ids=found.lost, why="trimmed or deleted before they were taken")
            if not found.alone:
                await self._take(found.entries)
                continue
            ((stream_id, fields),) = found.entries
            if await self._orders.ended_with(stream_id) >= MAX_ENDED:
                await self._reject(stream_id, fields)
            else:
                await self._take(found.entries)
            await self._orders.is_done(stream_id)

    async def _reject(self, stream_id: str, fields: dict[bytes, bytes]) -> None:
        event = fields.get(b"event") or as_json(fields)
        await self._accept(ClassifiedEvents(rejected=[rejected_as(stream_id, event, ENDED_INTAKES)]), [stream_id])

    async def _beat(self) -> None:
        if time.monotonic() >= self._beat_at:
            self._beat_at = time.monotonic() + HEARTBEAT_EVERY_S
            touch("intake")
            await check_format(self._store.redis)
            await tell(self._store, "intake", os.getpid(), self._position)

    async def _watch(self) -> None:
        """An intake that stands still although its server answers ends, to be started anew."""
        while True:
            await asyncio.sleep(STALLED_S / 6)
            if time.monotonic() - self._served_at > STALLED_S and await self._server_answers():
                log.error("intake_stalled", seconds=STALLED_S, next="ending, to be started anew")
                os._exit(1)

    async def _server_answers(self) -> bool:
        try:
            return bool(await self._store.redis.ping())
        except (RedisError, OSError):
            return False

    async def _take(self, entries: Sequence[Entry]) -> None:
        for read, ids in portions(entries, self._merchants):
            await self._store.retry(self._limits.tell, self._settings.lease_seconds)
            await self._accept(read, ids)

    async def _accept(self, read: ClassifiedEvents, ids: Sequence[str]) -> None:
        fresh, start = await self._store.retry(
            lambda: self._ledger.accept(read.accepted, read.rejected, ids, GROUP, read.ignored),
            self._settings.lease_seconds,
        )
        self._position = ids[-1]
        if start:
            self._start = start
            self._wanted.set()
        self._say(read, fresh)

    async def _start_children(self) -> None:
        """Send messages beside reading."""
        while not self._stopping.is_set():
            await self._wanted.wait()
            self._wanted.clear()
            start, self._start = self._start, None
            try:
                if start:
                    await self._dispatcher.start(start)
            except Exception:
                log.exception("dispatch_crashed", next="the next orders, or the sweep, try again")

    def _say(self, read: ClassifiedEvents, fresh: int) -> None:
        """Each rejected event at once; what went well in one line a second."""
        for rejected in read.rejected:
            log.warning(
                "order_rejected", stream_id=rejected.stream_id, reason=rejected.reason, error=rejected.error[:300]
            )
        self._taken += Counter(shipments=fresh, known=len(read.accepted) - fresh, ignored=read.ignored)
        if time.monotonic() >= self._said_at + SAYS_EVERY_S and self._taken.total():
            log.info("orders_accepted", **self._taken)
            self._taken.clear()
            self._said_at = time.monotonic()

    async def _leave(self) -> None:
        try:
            await self._orders.leave()
        except (RedisError, OSError) as error:
            log.warning("intake_unclean_shutdown", error=str(error), next="another intake takes over what it held")
