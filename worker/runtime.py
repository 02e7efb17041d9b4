"""The inside of a worker child: one event loop that never stands still, beside the thread that Celery runs tasks in."""

import asyncio
import concurrent.futures
import contextlib
import gc
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import uvloop
from celery import Celery

from config.celery_options import PATIENCE_S
from config.settings import Settings
from tasks.allocate import Worked, start_fallback
from tasks.backoff import RetryBudget
from tasks.batch import Batch
from tasks.next_move import PAUSED_WAIT_S
from tasks.ports import Account, Handover, Paused, Report, Taken
from tasks.shipment import Shipment
from tasks.unreadable import stand_in
from worker.alarms import Alarms
from worker.chores import Chores
from worker.handout import HandOut
from worker.hands import Hands
from worker.ledger import LONGEST_CALL_OF_LEASE, Ledger
from worker.merchants import Merchants
from worker.pro.client import ProApi
from worker.rechecks import Rechecks
from worker.reports import Reports
from worker.store import Store, connect

T = TypeVar("T")

NO_KEY = "its API key cannot be found"
NO_FILE = "its merchant file is gone"

BUSY = 200
"""So many shipments in its hands keep a child busy: with fewer, and more waiting, it takes another message."""

DRAIN_S = 8.0
"""How long a child that is told to end waits for its slow calls before it hands them back."""

ALONE_S = 40.0
"""How long a task waits in all until its child owns nothing else, and then for a shipment that must be alone there.

Less than the time after which Celery ends a task.
"""

ELSEWHERE_WAIT_S = 5.0
"""How long shipments wait that came to a process without their merchant's file or key, while another one has both."""

BROKEN_WAIT_S = 60.0
"""How long the shipments of a message wait that could not even be begun."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Begun:
    """A message whose work is under way. `batch`: None without a merchant file; `busy`: our hands are full.

    `patience_s`: how long its task waits for it.
    """

    taken: Taken
    batch: Batch | None = None
    busy: bool = False
    patience_s: float = 0.0


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
        self._budgets: dict[str, RetryBudget] = {}
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
        self._rechecks = Rechecks(self._store, self._ledger, self._api, self._merchants, settings)
        self._alarms = Alarms(self._hand_out.hand_out)
        self._hands = Hands(self._start_fallback, lambda others_look: self._alarms.look(others_look=others_look))
        self._chores = Chores(settings, self._store, self._ledger, self._merchants, self._hands)

    def _start_fallback(self, shipments: list[Shipment], token: str) -> Coroutine[Any, Any, None]:
        """What becomes of shipments that fall back when their task has returned: a chain of their own."""
        return asyncio.to_thread(start_fallback, self._app, shipments, token)

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def work(self, message: Handover) -> Worked:
        """Work on a message, for as long as a task may take: not at all, when more is waiting and we are not busy."""
        beginning = asyncio.run_coroutine_threadsafe(self._begin(message), self._loop)
        try:
            begun = beginning.result()
            # The loop works meanwhile; this thread would only wait for it.
            sent = self._hand_out.send(begun.taken.claimed)
        except BaseException:
            beginning.add_done_callback(self._leave)
            raise
        if begun.batch and sent and not begun.busy:
            self._leave(beginning)
            return Worked(token=begun.taken.task, fell_back=[])
        return self._in_loop(self._finish(begun, sent))

    def sweep(self) -> dict[str, Any]:
        """Hand out what is due and keep house."""
        return self._in_loop(self._chores.sweep(self._hand_out, self._rechecks))

    def stop(self) -> None:
        """Finish or hand back what is going on, then end the loop."""
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._drain(), self._loop).result(2 * DRAIN_S)
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _begin(self, message: Handover) -> _Begun:
        """Take the shipments, and in the same round trip what fills the message's place, so that no child has to wait.

        The link of a chain left no place: the bound is on micro-batches, each of which brings few links with it.
        """
        self._chores.messages += 1
        deadline = self._loop.time() + ALONE_S
        if not await self._hands.has_room(alone=message.alone, patience_s=ALONE_S):
            # Nothing is taken: the message's leases run out, which is no loss, and its shipments are handed out again.
            return _Begun(taken=Taken(task="", paused=None, shipments=(), claimed=()))
        taken = await self._ledger.take(message, claim=1 if message.step is None else 0)
        try:
            batch = await self._start(message, taken)
        except Exception:
            await self._park(taken, BROKEN_WAIT_S)
            raise
        patience_s = max(PATIENCE_S, deadline - self._loop.time()) if message.alone else PATIENCE_S
        busy = message.alone or self._hands.count() >= BUSY
        return _Begun(taken=taken, batch=batch, busy=busy, patience_s=patience_s)

    async def _start(self, message: Handover, taken: Taken) -> Batch | None:
        account = self._merchants.account(message.merchant)
        if (account is None or account.key is None) and await self._ledger.others_can(message.merchant):
            await self._park(taken, ELSEWHERE_WAIT_S)
            return None
        if account is None:
            # Without its file nothing is known of a merchant, so its shipments wait until the file is back.
            await self._pause(message.merchant, NO_FILE, "")
            await self._park(taken, PAUSED_WAIT_S)
            return None
        if account.key is None:
            await self._pause(account.merchant.name, NO_KEY, account.digest)
        batch = self._batch(account, taken)
        self._hands.begin(batch, alone=message.alone)
        return batch

    def _batch(self, account: Account, taken: Taken) -> Batch:
        return Batch(
            account=account,
            taken=taken,
            ledger=self._ledger,
            api=self._api,
            telemetry=self._reports,
            budget=self._budgets.setdefault(account.api, RetryBudget()),
            wake_in=self._alarms.wake_in,
        )

    async def _finish(self, begun: _Begun, sent: int) -> Worked:
        """Wait for the batch, as long as its task is patient."""
        fell_back = await self._hands.wait(begun.batch, begun.patience_s) if begun.batch else []
        if not sent and not self._stopping:
            # What is settled by now has made room within the merchant's window and limits.
            await self._hand_out.hand_out()
        return Worked(token=begun.taken.task, fell_back=fell_back)

    def _leave(self, beginning: "concurrent.futures.Future[_Begun]") -> None:
        """Let the loop follow a batch to its end; its task waits no more."""
        if not beginning.cancelled() and not beginning.exception() and (batch := beginning.result().batch):
            self._loop.call_soon_threadsafe(self._hands.go_on, batch, PATIENCE_S)

    async def _pause(self, merchant: str, why: str, digest: str) -> None:
        if await self._ledger.pause(merchant, Paused(why=why), digest):
            self._reports.paused(merchant, why)

    async def _park(self, taken: Taken, wait_s: float) -> None:
        """Put back what was taken, as it was."""
        due = self._ledger.now() + wait_s
        waiting = [*taken.shipments, *(stand_in(found) for found in taken.unreadable)]
        await self._ledger.report_all(
            [Report(shipment=each, task=taken.task, verdict="park", due=due) for each in waiting]
        )

    async def _drain(self) -> None:
        self._stopping = True
        await self._rechecks.stop()
        await self._hands.empty(DRAIN_S)
        await self._chores.stop()
        await self._alarms.stop()
        await self._api.close()
        await self._store.redis.aclose()
