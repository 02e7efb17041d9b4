"""The runtime of a worker child: an event loop in its own thread, next to the thread in which Celery runs tasks."""

import asyncio
import contextlib
import gc
import threading
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import structlog
import uvloop
from celery import Celery

from config.celery_options import PATIENCE_S
from config.settings import Settings
from tasks.allocate import WorkResult
from tasks.work.messages import CLAIMING, COUNTS, NOT_OWNED, Link
from tasks.work.ports import Claim
from worker.carrier_api.client import CarrierApi
from worker.dispatch.dispatcher import Dispatcher
from worker.dispatch.fallbacks import Fallbacks, InTime
from worker.ledger.leases import MAX_CALL_OF_LEASE
from worker.ledger.ledger import Ledger
from worker.ledger.rows import ClaimResult
from worker.observability.sentry import SentryAlerts
from worker.processes.batches import Batches
from worker.processes.claim_loop import LOOP_S, ClaimLoop
from worker.processes.dispatch_timer import DispatchTimer
from worker.processes.in_flight import InFlight
from worker.processes.merchant_files import MerchantFiles
from worker.processes.periodic import PeriodicJobs
from worker.processes.rechecks import Rechecks
from worker.processes.siblings import Siblings
from worker.processes.stored_files import StoredFiles
from worker.processes.tally import Left, Tally
from worker.redis_client.store import TRANSIENT_ERRORS, Store, connect

T = TypeVar("T")

TASK_WAIT_S = 2 * LOOP_S
"""How long `allocation.allocate` waits for its claim loop; below Celery's soft time limit."""

DRAIN_S = 8.0
"""How long a child that shuts down waits for open calls before it requeues their shipments."""

RESERVED_WAIT_S = 0.25
"""How long a message waits for a child reserved for an isolated shipment, before it is requeued for another child."""

POLL_S = 0.25
"""How often a waiting task checks whether the worker shuts down."""

REQUEUE_S = 8.0
"""How long, after `DRAIN_S`, the shutdown may take to write everything to the ledger."""

log = structlog.get_logger(__name__)


class ChildRuntime:
    """Does the work of the Celery tasks, in an event loop that keeps running after they return."""

    def __init__(self, app: Celery, settings: Settings, children: Siblings) -> None:
        """Start the event loop's thread; call after the fork."""
        # A batch creates thousands of objects, nearly all of them freed by reference counting: collect less often.
        gc.set_threshold(50_000, 20, 20)
        self._app = app
        self._settings = settings
        self._children = children
        self._tally = Tally()
        self._loop = uvloop.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="allocation-loop", daemon=True).start()
        self._in_loop(self._build())

    async def _build(self) -> None:
        settings = self._settings
        self._store = Store(connect(settings))
        self._ledger = Ledger(self._store, settings)
        self._merchants = MerchantFiles(settings.merchants_dir, settings.http_hosts, logs=self._children.is_first)
        self._api = CarrierApi(self._ledger.now, longest_call_s=settings.lease_seconds * MAX_CALL_OF_LEASE)
        self._dispatcher = Dispatcher(self._app, self._ledger)
        self._timer = DispatchTimer(self._dispatcher.notify_due)
        self._in_flight = InFlight(self._ended, lambda: self._children.is_shutting_down)
        self._batches = Batches(
            self._ledger,
            self._merchants,
            self._api,
            SentryAlerts(),
            self._in_flight,
            self._timer.wake_after,
            StoredFiles(self._store, self._merchants, settings).restore,
        )
        self._fallbacks = Fallbacks(self._app, self._dispatcher)
        self._claim_loop = ClaimLoop(
            self._ledger, self._dispatcher, self._in_flight, self._begin, lambda: self._children.is_shutting_down
        )
        self._rechecks = Rechecks(self._store, self._ledger, self._api, self._merchants, settings)
        self._periodic = PeriodicJobs(
            settings, self._store, self._ledger, self._merchants, self._in_flight, self._children
        )

    def serve(self) -> WorkResult | None:
        """Run the claim loop; waits for it, at most `TASK_WAIT_S`, if another child is free.

        None if this child is reserved for an isolated shipment, so that another child must run the task.
        """
        with self._task() as may_wait:
            return self._in_loop(self._serve(TASK_WAIT_S if may_wait else 0.0))

    def follow(self, link: Link) -> WorkResult | None:
        """Work on the shipments of a link; None if this child is reserved for an isolated shipment."""
        with self._task() as may_wait:
            return self._in_loop(self._follow(link, PATIENCE_S if may_wait else 0.0))

    def sweep(self) -> dict[str, Any]:
        """Start claim loops for due shipments, and run maintenance."""
        with self._task():
            return self._in_loop(self._periodic.sweep(self._dispatcher, self._rechecks))

    def stop(self) -> None:
        """Finish the running batches or requeue their shipments, then stop the loop."""
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._drain(), self._loop).result(DRAIN_S + REQUEUE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)

    @contextlib.contextmanager
    def _task(self) -> Iterator[bool]:
        """Mark this child as busy; yields whether the task may wait: another child is free for the next message."""
        self._children.mark_busy()
        try:
            self._periodic.messages += 1
            yield self._children.has_free_child()
        finally:
            self._children.mark_free()

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _serve(self, patience_s: float) -> WorkResult | None:
        before = self._tally.left()
        async with self._in_flight.starting(RESERVED_WAIT_S) as may_begin:
            if not may_begin:
                return None
            loop = self._claim_loop.start()
        await self._wait([loop], patience_s)
        counts = self._tally.result(before)
        return WorkResult(counts=counts if loop.done() else {**counts, CLAIMING: True})

    async def _begin(self, due: ClaimResult) -> None:
        for claim in due.claims:
            await self._batches.begin(claim, self._fallbacks.add, self._tally)

    async def _follow(self, link: Link, patience_s: float) -> WorkResult | None:
        """As `follow`; what falls back after `patience_s` starts a chain of its own."""
        in_time, tally = InTime(self._fallbacks.add), Tally()
        async with self._in_flight.starting(RESERVED_WAIT_S) as may_begin:
            if not may_begin:
                return None
            claims = await self._claim_link(link)
            batches = [await self._batches.begin(claim, in_time.add, tally) for claim in claims]
        await self._wait([batch for batch in batches if batch], patience_s)
        counts = tally.result(Left())
        not_owned = link.shipments - sum(counts.get(name, 0) for name in COUNTS)
        return WorkResult(counts=counts | ({NOT_OWNED: not_owned} if not_owned > 0 else {}), fell_back=in_time.close())

    async def _claim_link(self, link: Link) -> Sequence[Claim]:
        try:
            return await self._ledger.claim_link(link)
        except TRANSIENT_ERRORS as error:
            log.warning(
                "link_not_claimed", error=str(error), next="its shipments are reclaimed when their leases expire"
            )
            return ()

    async def _wait(self, works: Sequence["asyncio.Task[None]"], patience_s: float) -> None:
        """Wait until all have ended, at most `patience_s` seconds; returns early if the worker shuts down."""
        deadline = self._loop.time() + patience_s
        while works and not self._children.is_shutting_down and (left_s := deadline - self._loop.time()) > 0:
            _, pending = await asyncio.wait(works, timeout=min(left_s, POLL_S))
            works = list(pending)

    def _ended(self) -> None:
        """A batch has ended, so more shipments may be claimed, even if this child's claim loop is not running."""
        if not self._claim_loop.is_active:
            self._timer.wake_after(0.0)

    async def _drain(self) -> None:
        await self._rechecks.stop()
        await self._claim_loop.stop()
        await self._in_flight.drain(DRAIN_S)
        await self._dispatcher.notify_due()
        await self._fallbacks.stop()
        await self._periodic.stop()
        await self._timer.stop()
        await self._api.close()
        await self._store.redis.aclose()
