"""The inside of a worker child: one event loop that never stands still, beside the thread that Celery runs tasks in."""

import asyncio
import contextlib
import gc
import math
import os
import threading
import time
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
import uvloop
from celery import Celery

from config.celery_options import PATIENCE_S
from config.settings import Settings
from tasks.allocate import Worked, start_fallback
from tasks.backoff import RetryBudget
from tasks.batch import Batch, FallingBack
from tasks.move import PAUSED_WAIT_S
from tasks.ports import Handover, Report, Taken
from tasks.shipment import Shipment
from worker.handout import HandOut
from worker.health import BEAT_EVERY_S, tell
from worker.housekeeping import keep_house
from worker.ledger import Ledger
from worker.limits import Limits
from worker.merchants import Merchants
from worker.pro.client import ProApi
from worker.reports import Reports, check_in_sweep
from worker.store import PASSING, Store, connect

T = TypeVar("T")

BUSY = 200
"""So many shipments in its hands keep a child busy: with fewer, and more waiting, it takes another message."""

DRAIN_S = 8.0
"""How long a child that is told to end waits for its slow calls before it hands them back."""

LONGEST_CALL_OF_LEASE = 0.6
"""No call lasts longer than this share of a lease, which is renewed right before it."""

LOOK_AGAIN_S = 1.0

ALARM_GRID_S = 0.25
ALARM_MOST_S = 120.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Begun:
    """A message whose work is under way. `batch`: None without a merchant file; `busy`: our hands are full."""

    taken: Taken
    batch: Batch | None = None
    busy: bool = False


class ChildRuntime:
    """Works on messages.

    Slow calls go on in the loop after their task has returned, so that no carrier API that hangs holds a child; their
    leases are renewed until they are settled.
    """

    def __init__(self, app: Celery, settings: Settings) -> None:
        """Start the loop's thread; call it after the fork."""
        # A batch makes garbage by the thousand, nearly all of it freed by reference counts alone.
        gc.set_threshold(50_000, 20, 20)
        self._app = app
        self._settings = settings
        self._slow: dict[asyncio.Task[None], Batch] = {}
        self._at_work: set[Batch] = set()
        self._budgets: dict[str, RetryBudget] = {}
        self._alarms: set[int] = set()
        self._messages = 0
        self._check_in_at = 0.0
        self._ringing: set[asyncio.Task[int]] = set()
        self._looking: asyncio.TimerHandle | None = None
        self._stopping = False
        self._loop = uvloop.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="allocation-loop", daemon=True).start()
        self._in_loop(self._build())

    async def _build(self) -> None:
        settings = self._settings
        self._store = Store(connect(settings))
        self._ledger = Ledger(self._store, settings)
        self._merchants = Merchants(settings.merchants_dir, settings.http_hosts)
        self._api = ProApi(self._ledger.now, longest_call_s=settings.lease_seconds * LONGEST_CALL_OF_LEASE)
        self._reports = Reports()
        self._hand_out = HandOut(self._app, self._ledger, settings)
        self._limits = Limits(self._ledger, self._merchants)
        self._renewing = asyncio.create_task(self._renew())
        self._beating = asyncio.create_task(self._beat())

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def work(self, message: Handover) -> Worked:
        """Work on a message, for as long as a task may take: not at all, when more is waiting and we are not busy."""
        begun = self._in_loop(self._begin(message))
        try:
            # The loop works meanwhile; this thread would only wait for it.
            sent = self._hand_out.send(begun.taken.claimed)
        except BaseException:
            self._leave_alone(begun)
            raise
        if begun.batch and sent and not begun.busy:
            self._leave_alone(begun)
            return Worked(token=begun.taken.task, fell_back=[])
        return self._in_loop(self._finish(begun, sent))

    def sweep(self) -> dict[str, Any]:
        """Hand out what is due and keep house."""
        return self._in_loop(self._sweep())

    def stop(self) -> None:
        """Finish or hand back what is going on, then end the loop."""
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._drain(), self._loop).result(2 * DRAIN_S)
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _begin(self, message: Handover) -> _Begun:
        """Take the shipments, and in the same round trip what fills the message's place, so that no child has to wait.

        The link of a chain left no place: the bound is on micro-batches, each of which brings few links with it.
        """
        self._messages += 1
        taken = await self._ledger.take(message, claim=1 if message.step is None else 0)
        account = self._merchants.account(message.merchant)
        if account is None:
            await self._wait_for_file(message, taken)
            return _Begun(taken=taken)
        if account.key is None:
            await self._pause(account.merchant.name, "its API key cannot be found", account.digest)
        batch = Batch(
            account=account,
            taken=taken,
            ledger=self._ledger,
            api=self._api,
            telemetry=self._reports,
            budget=self._budgets.setdefault(account.api, RetryBudget()),
            wake_in=self._wake_in,
        )
        batch.start()
        self._at_work.add(batch)
        in_hands = sum(len(each.in_hands) for each in (*self._at_work, *self._slow.values()))
        return _Begun(taken=taken, batch=batch, busy=in_hands >= BUSY)

    async def _finish(self, begun: _Begun, sent: int) -> Worked:
        """Wait for the batch, as long as a task is patient."""
        fell_back = await self._wait(begun.batch) if begun.batch else []
        if not sent:
            # What is settled by now has made room within the merchant's window and limits.
            await self._hand_out.hand_out()
        return Worked(token=begun.taken.task, fell_back=fell_back)

    async def _wait(self, batch: Batch) -> list[Shipment]:
        try:
            fell_back, going_on = await batch.run(PATIENCE_S, self._late(batch))
        finally:
            self._at_work.discard(batch)
        if going_on:
            self._slow[going_on] = batch
            going_on.add_done_callback(self._slow_done)
        return fell_back

    def _leave_alone(self, begun: _Begun) -> None:
        """Let the loop follow a batch to its end; its task waits no more."""
        if begun.batch:
            self._loop.call_soon_threadsafe(self._go_on, begun.batch)

    def _go_on(self, batch: Batch) -> None:
        going_on = self._loop.create_task(batch.go_on(PATIENCE_S, self._late(batch)))
        self._at_work.discard(batch)
        self._slow[going_on] = batch
        going_on.add_done_callback(self._alone_done)

    def _late(self, batch: Batch) -> FallingBack:
        """What becomes of shipments that fall back when their task has returned: a chain of their own."""
        return lambda shipments: asyncio.to_thread(start_fallback, self._app, shipments, batch.taken.task)

    async def _pause(self, merchant: str, why: str, digest: str) -> None:
        if await self._ledger.pause(merchant, why, digest):
            self._reports.paused(merchant, why)

    async def _wait_for_file(self, message: Handover, taken: Taken) -> None:
        """Without its file nothing is known of a merchant, so its shipments wait until the file is back."""
        await self._pause(message.merchant, "its merchant file is gone", "")
        due = self._ledger.now() + PAUSED_WAIT_S
        await self._ledger.report_all(
            [Report(shipment=s, task=taken.task, verdict="park", due=due) for s in taken.shipments]
        )

    def _slow_done(self, task: asyncio.Task[None]) -> None:
        """Nobody else may be left who looks for what has room now."""
        self._wake_in(0.0)
        self._done(task)

    def _alone_done(self, task: asyncio.Task[None]) -> None:
        """Its place was filled when it began, so others look all the time, and once in a while is enough."""
        if self._looking is None:
            self._looking = self._loop.call_later(LOOK_AGAIN_S, self._look_again)
        self._done(task)

    def _look_again(self) -> None:
        self._looking = None
        self._wake_in(0.0)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._slow.pop(task, None)
        if not task.cancelled() and (error := task.exception()):
            log.error("batch_broken", exc_info=error, next="its leases run out and the sweep brings it back")

    def _wake_in(self, wait_s: float) -> None:
        """Hand out again when something parked comes due, so that short waits do not depend on the sweep."""
        tick = math.ceil((self._loop.time() + wait_s) / ALARM_GRID_S)
        if wait_s <= ALARM_MOST_S and tick not in self._alarms:
            self._alarms.add(tick)
            self._loop.call_at(tick * ALARM_GRID_S, self._ring, tick)

    def _ring(self, tick: int) -> None:
        self._alarms.discard(tick)
        if self._stopping:
            return
        task = asyncio.create_task(self._hand_out.hand_out())
        self._ringing.add(task)
        task.add_done_callback(self._ringing.discard)

    async def _renew(self) -> None:
        """Renew what is in our hands three times a lease."""
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 3)
            batches = [*self._at_work, *self._slow.values()]
            held = [(s, batch.taken.task) for batch in batches for s in batch.in_hands.values()]
            with contextlib.suppress(*PASSING):
                await self._ledger.renew(held)

    async def _beat(self) -> None:
        """The worker's heartbeat to the ledger; any of its children speaks for it."""
        while True:
            with contextlib.suppress(*PASSING):
                await tell(self._store, "worker", os.getppid(), {"messages": self._messages})
            await asyncio.sleep(BEAT_EVERY_S)

    async def _sweep(self) -> dict[str, Any]:
        with self._check_in():
            with contextlib.suppress(*PASSING):
                await self._limits.tell()
            handed_out = await self._hand_out.hand_out()
            kept = await keep_house(self._store, self._ledger, self._merchants, self._settings)
        return {"messages": handed_out, **kept}

    def _check_in(self) -> AbstractContextManager[Any]:
        """Sentry's beat monitor hears of a sweep once a minute, however often there is one."""
        if time.monotonic() < self._check_in_at:
            return contextlib.nullcontext()
        self._check_in_at = time.monotonic() + 60
        check_in: AbstractContextManager[Any] = check_in_sweep(self._settings.sweep_seconds)
        return check_in

    async def _drain(self) -> None:
        self._stopping = True
        slow = dict(self._slow)
        if slow:
            await asyncio.wait(slow, timeout=DRAIN_S)
        for task, batch in slow.items():
            if not task.done():
                task.cancel()
                await batch.hand_back()
        self._renewing.cancel()
        self._beating.cancel()
        await asyncio.gather(*self._ringing, return_exceptions=True)
        await self._api.close()
        await self._store.redis.aclose()
