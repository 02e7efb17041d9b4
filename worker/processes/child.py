"""The inside of a worker child: one event loop that never stands still, beside the thread that Celery runs tasks in."""

import asyncio
import contextlib
import gc
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import structlog
import uvloop
from celery import Celery

from config.celery_options import PATIENCE_S
from config.settings import Settings
from tasks.allocate import WorkResult
from tasks.work.messages import FINISHES, IN_PROGRESS, FellBack, Link
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
from worker.redis_client.store import TRANSIENT_ERRORS, Store, connect

T = TypeVar("T")

HOLDS_S = 2 * LOOP_S
"""How long a task waits for the end of what it began; less than the time after which Celery ends it."""

DRAIN_S = 8.0
"""How long a child that is told to end waits for its slow calls before it hands them back."""

KEPT_WAIT_S = 0.25
"""How long a message waits for a child that is kept for a shipment which must be alone, before another one gets it."""

LOOKS_EVERY_S = 0.25
"""How often a task that waits looks whether the worker is told to end."""

HANDS_BACK_S = 8.0
"""How much longer it takes at the most until all that is written."""

log = structlog.get_logger(__name__)


class ChildRuntime:
    """Does the work of the Celery tasks, in a loop that goes on when they have returned."""

    def __init__(self, app: Celery, settings: Settings, children: Siblings) -> None:
        """Start the loop's thread; call it after the fork."""
        # A batch makes garbage by the thousand, nearly all of it freed by reference counts alone.
        gc.set_threshold(50_000, 20, 20)
        self._app = app
        self._settings = settings
        self._children = children
        self._tally = Counter[str]()
        self._loop = uvloop.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="allocation-loop", daemon=True).start()
        self._in_loop(self._build())

    async def _build(self) -> None:
        settings = self._settings
        self._store = Store(connect(settings))
        self._ledger = Ledger(self._store, settings)
        self._merchants = MerchantFiles(settings.merchants_dir, settings.http_hosts)
        self._api = CarrierApi(self._ledger.now, longest_call_s=settings.lease_seconds * MAX_CALL_OF_LEASE)
        self._dispatcher = Dispatcher(self._app, self._ledger)
        self._timer = DispatchTimer(self._dispatcher.notify_due)
        self._in_flight = InFlight(self._ended, lambda: self._children.must_end)
        self._batches = Batches(
            self._ledger, self._merchants, self._api, SentryAlerts(), self._in_flight, self._timer.wake_after
        )
        self._fallbacks = Fallbacks(self._app, self._dispatcher)
        self._claim_loop = ClaimLoop(
            self._ledger, self._dispatcher, self._in_flight, self._begin, lambda: self._children.must_end
        )
        self._rechecks = Rechecks(self._store, self._ledger, self._api, self._merchants, settings)
        self._periodic = PeriodicJobs(
            settings, self._store, self._ledger, self._merchants, self._in_flight, self._children
        )

    def serve(self) -> WorkResult | None:
        """Take what is due, and what comes due, for a while; the task waits for it while another child is free.

        None if another child must, as this one is kept for a shipment alone.
        """
        with self._task() as may_wait:
            return self._in_loop(self._serve(HOLDS_S if may_wait else 0.0))

    def follow(self, link: Link) -> WorkResult | None:
        """Work on the shipments of a link; None if another child must."""
        with self._task() as may_wait:
            return self._in_loop(self._follow(link, PATIENCE_S if may_wait else 0.0))

    def sweep(self) -> dict[str, Any]:
        """Have what is due taken, and do the housekeeping."""
        with self._task():
            return self._in_loop(self._periodic.sweep(self._dispatcher, self._rechecks))

    def stop(self) -> None:
        """Finish or hand back what is going on, then end the loop."""
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._drain(), self._loop).result(DRAIN_S + HANDS_BACK_S)
        self._loop.call_soon_threadsafe(self._loop.stop)

    @contextlib.contextmanager
    def _task(self) -> Iterator[bool]:
        """Whether the task may hold its child: while another one is free, no message waits for it."""
        self._children.is_busy()
        try:
            self._periodic.messages += 1
            yield self._children.others_are_free()
        finally:
            self._children.is_free()

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _serve(self, patience_s: float) -> WorkResult | None:
        before = self._tally.copy()
        async with self._in_flight.coming(KEPT_WAIT_S) as may_begin:
            if not may_begin:
                return None
            loop = self._claim_loop.start()
        await self._wait([loop], patience_s)
        return self._worked(self._tally - before)

    async def _begin(self, due: ClaimResult) -> None:
        for claim in due.claims:
            await self._batches.begin(claim, self._fallbacks.add, self._tally)

    async def _follow(self, link: Link, patience_s: float) -> WorkResult | None:
        """What falls back later goes into a chain of its own. None: this child is kept for another shipment."""
        in_time, tally = InTime(self._fallbacks.add), Counter[str]()
        async with self._in_flight.coming(KEPT_WAIT_S) as may_begin:
            if not may_begin:
                return None
            claim = await self._taken_by(link)
            begun = [await self._batches.begin(each, in_time.add, tally) for each in claim]
        await self._wait([each for each in begun if each], patience_s)
        return self._worked(tally, in_time.close())

    async def _taken_by(self, link: Link) -> Sequence[Claim]:
        try:
            return await self._ledger.claim_link(link)
        except TRANSIENT_ERRORS as error:
            log.warning("link_not_claimed", error=str(error), next="its shipments are due with their leases")
            return ()

    async def _wait(self, works: Sequence["asyncio.Task[None]"], patience_s: float) -> None:
        """Wait for their end, at most so long, and not while the worker is told to end."""
        deadline = self._loop.time() + patience_s
        while works and not self._children.must_end and (left_s := deadline - self._loop.time()) > 0:
            _, pending = await asyncio.wait(works, timeout=min(left_s, LOOKS_EVERY_S))
            works = list(pending)

    def _ended(self) -> None:
        """What made room is taken, also while this child does not listen."""
        if not self._claim_loop.is_active:
            self._timer.wake_after(0.0)

    def _worked(self, tally: Counter[str], fell_back: Sequence[FellBack] = ()) -> WorkResult:
        counts = {end: tally[end] for end in FINISHES if tally[end]}
        return WorkResult(counts={**counts, IN_PROGRESS: self._in_flight.count()}, fell_back=fell_back)

    async def _drain(self) -> None:
        await self._rechecks.stop()
        await self._claim_loop.stop()
        await self._in_flight.empty(DRAIN_S)
        await self._dispatcher.notify_due()
        await self._fallbacks.stop()
        await self._periodic.stop()
        await self._timer.stop()
        await self._api.close()
        await self._store.redis.aclose()
