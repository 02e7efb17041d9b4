"""The periodic jobs of a worker child: renewing leases, heartbeats, and the sweep."""

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
from worker.observability.heartbeat import HEARTBEAT_EVERY_S, publish_heartbeat, withdraw_heartbeat
from worker.observability.sentry import check_in_sweep
from worker.processes.in_flight import InFlight
from worker.processes.limits import Limits
from worker.processes.maintenance import run_maintenance
from worker.processes.merchant_files import MerchantFiles
from worker.processes.problem_log import ProblemLog
from worker.processes.rechecks import Rechecks
from worker.processes.siblings import Siblings
from worker.processes.stored_files import StoredFiles
from worker.redis_client.store import TRANSIENT_ERRORS, Store

log = structlog.get_logger(__name__)


class PeriodicJobs:
    """Runs in the child's event loop."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        ledger: Ledger,
        merchants: MerchantFiles,
        in_flight: InFlight,
        children: Siblings,
    ) -> None:
        """Starts renewing leases and sending heartbeats."""
        self.messages = 0
        """Number of Celery messages this child has received; shown in the heartbeat."""
        self._settings = settings
        self._store = store
        self._ledger = ledger
        self._merchants = merchants
        self._in_flight = in_flight
        self._children = children
        self._limits = Limits(ledger, merchants)
        self._stored_files = StoredFiles(store, merchants, settings)
        self._problem_log = ProblemLog(store.redis, merchants, ledger)
        self._check_in_at = 0.0
        self._worker = os.getppid()
        self._repeated = [
            asyncio.create_task(_repeat(self._renew, settings.lease_seconds / 3)),
            asyncio.create_task(_repeat(self._beat, HEARTBEAT_EVERY_S)),
        ]

    async def _renew(self) -> None:
        """Renew the leases of all shipments in flight; called three times per lease."""
        await self._ledger.renew(self._in_flight.shipments())

    async def _beat(self) -> None:
        """Send the worker's heartbeat, once for all children; a child that owns shipments also watches the clock."""
        if self._children.is_shutting_down:
            return
        if self._children.take_turn(HEARTBEAT_EVERY_S):
            await stop_if_other(self._store.redis, self._worker)
            position = {"messages": self.messages}
            await publish_heartbeat(self._store, "worker", self._worker, position, self._merchants.in_use())
        elif not self._in_flight.count():
            return
        await self._ledger.watch_clock()

    async def sweep(self, dispatcher: Dispatcher, rechecks: Rechecks) -> dict[str, Any]:
        """Start claim loops for due shipments, and run maintenance; returns the task's result."""
        with self._check_in():
            with contextlib.suppress(*TRANSIENT_ERRORS):
                await self._limits.write()
                await self._stored_files.sync()
                await self._problem_log.check()
            maintenance = await run_maintenance(self._store, self._ledger, self._merchants, self._settings)
            started = await dispatcher.notify_due()
        rechecks.start()
        return {"messages": started, **maintenance}

    def _check_in(self) -> AbstractContextManager[Any]:
        """Check in with Sentry's monitor at most once a minute, however often sweeps run."""
        if time.monotonic() < self._check_in_at:
            return contextlib.nullcontext()
        self._check_in_at = time.monotonic() + 60
        check_in: AbstractContextManager[Any] = check_in_sweep(self._settings.sweep_seconds)
        return check_in

    async def stop(self) -> None:
        """Stop renewing leases and sending heartbeats; a worker that shuts down withdraws its heartbeat."""
        for task in self._repeated:
            task.cancel()
        await asyncio.gather(*self._repeated, return_exceptions=True)
        if self._children.is_shutting_down:
            await withdraw_heartbeat(self._store, "worker", self._worker)


async def _repeat(job: Callable[[], Awaitable[None]], every_s: float) -> None:
    """Run `job` every `every_s` seconds, also after errors."""
    while True:
        try:
            await job()
        except TRANSIENT_ERRORS:
            # Logged where a command waits for Redis.
            pass
        except Exception:
            log.exception("periodic_job_failed", next="retried at the next interval")
        await asyncio.sleep(every_s)
