"""What a worker child does beside its batches: it renews leases, gives heartbeats, and takes its turn at the sweep."""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import structlog

from config.settings import Settings
from worker.dispatch.dispatcher import Dispatcher
from worker.ledger.format import stop_if_other
from worker.ledger.ledger import Ledger
from worker.observability.heartbeat import HEARTBEAT_EVERY_S, tell
from worker.observability.sentry import check_in_sweep
from worker.processes.in_flight import InFlight
from worker.processes.limits import Limits
from worker.processes.maintenance import run_maintenance
from worker.processes.merchant_files import MerchantFiles
from worker.processes.rechecks import Rechecks
from worker.processes.siblings import Siblings
from worker.redis_client.store import TRANSIENT_ERRORS, Store

log = structlog.get_logger(__name__)


class PeriodicJobs:
    """Lives in the child's loop."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        ledger: Ledger,
        merchants: MerchantFiles,
        in_flight: InFlight,
        children: Siblings,
    ) -> None:
        """Begins at once."""
        self.messages = 0
        """How many the child has read; its position in its heartbeat."""
        self._settings = settings
        self._store = store
        self._ledger = ledger
        self._merchants = merchants
        self._in_flight = in_flight
        self._children = children
        self._limits = Limits(ledger, merchants)
        self._check_in_at = 0.0
        self._worker = os.getppid()
        self._repeated = [
            asyncio.create_task(_repeat(self._renew, settings.lease_seconds / 3)),
            asyncio.create_task(_repeat(self._beat, HEARTBEAT_EVERY_S)),
        ]

    async def _renew(self) -> None:
        """Renew what is in our hands, three times a lease."""
        await self._ledger.renew(self._in_flight.shipments())

    async def _beat(self) -> None:
        """The worker's heartbeat, for which one of its children speaks; who holds something watches the clock too."""
        if self._children.has_turn(HEARTBEAT_EVERY_S):
            await stop_if_other(self._store.redis, self._worker)
            await tell(self._store, "worker", self._worker, {"messages": self.messages})
        elif not self._in_flight.count():
            return
        await self._ledger.watch_clock()

    async def sweep(self, dispatcher: Dispatcher, rechecks: Rechecks) -> dict[str, Any]:
        """Have what is due taken, and do the housekeeping."""
        with self._check_in():
            with contextlib.suppress(*TRANSIENT_ERRORS):
                await self._limits.tell()
            kept = await run_maintenance(self._store, self._ledger, self._merchants, self._settings)
            started = await dispatcher.notify_due()
        rechecks.start()
        return {"messages": started, **kept}

    def _check_in(self) -> AbstractContextManager[Any]:
        """Sentry's beat monitor hears of a sweep once a minute, however often there is one."""
        if time.monotonic() < self._check_in_at:
            return contextlib.nullcontext()
        self._check_in_at = time.monotonic() + 60
        check_in: AbstractContextManager[Any] = check_in_sweep(self._settings.sweep_seconds)
        return check_in

    async def stop(self) -> None:
        """Renew and beat no more."""
        for task in self._repeated:
            task.cancel()
        await asyncio.gather(*self._repeated, return_exceptions=True)


async def _repeat(chore: Callable[[], Awaitable[None]], every_s: float) -> None:
    """Do it again and again, whatever becomes of it this time."""
    while True:
        try:
            await chore()
        except TRANSIENT_ERRORS:
            # Said by who waits for the server.
            pass
        except Exception:
            log.exception("periodic_job_failed", next="it is tried again")
        await asyncio.sleep(every_s)
