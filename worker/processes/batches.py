"""Starts a batch for claimed shipments: finds the merchant file and the API key, or parks the shipments."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import structlog

from tasks.events.shipment_allocation_failed import failed_event
from tasks.rules.backoff import RetryBudget
from tasks.rules.cancelled import end_unread
from tasks.rules.decision import Fail
from tasks.rules.next_decision import PAUSED_WAIT_S
from tasks.rules.unreadable import stand_in
from tasks.work.api import Api
from tasks.work.batch import Batch
from tasks.work.journal import failed_steps
from tasks.work.messages import FellBack
from tasks.work.ports import Account, Claim, Pause, Report
from worker.ledger.ledger import Ledger
from worker.ledger.pauses import NO_FILE, NO_KEY
from worker.observability.sentry import SentryAlerts
from worker.processes.in_flight import InFlight
from worker.processes.merchant_files import MerchantFiles
from worker.processes.tally import Tally
from worker.redis_client.store import TRANSIENT_ERRORS

ELSEWHERE_WAIT_S = 5.0
"""Wait of shipments whose merchant file or key this process does not have, while another process has both."""

BROKEN_WAIT_S = 60.0
"""Wait of shipments whose batch could not be started because of an unexpected error."""

log = structlog.get_logger(__name__)


class Batches:
    """Starts the batches of a child; used in its event loop only."""

    def __init__(
        self,
        ledger: Ledger,
        merchants: MerchantFiles,
        api: Api,
        alerts: SentryAlerts,
        in_flight: InFlight,
        wake_after: Callable[[float], None],
        restore: Callable[[], Awaitable[None]],
    ) -> None:
        """`wake_after`: called with the seconds until a parked shipment is due.

        `restore`: uses stored versions of merchant files that are invalid.
        """
        self._restore = restore
        self._ledger = ledger
        self._merchants = merchants
        self._api = api
        self._alerts = alerts
        self._in_flight = in_flight
        self._wake_after = wake_after
        self._budgets: dict[str, RetryBudget] = {}

    async def begin(
        self, claim: Claim, fell_back: Callable[[FellBack], None], tally: Tally
    ) -> "asyncio.Task[None] | None":
        """Start a batch for the claim; None if its shipments were parked instead.

        `fell_back` is called with each shipment that moved to its next step; `tally` counts how shipments leave.
        """
        try:
            account = await self._account(claim, tally)
            return self._start(account, claim, fell_back, tally) if account else None
        except Exception:
            log.exception(
                "batch_not_started", merchant=claim.merchant, next=f"its shipments are retried in {BROKEN_WAIT_S:.0f} s"
            )
            await self._park(claim, BROKEN_WAIT_S, tally)
            return None

    async def _account(self, claim: Claim, tally: Tally) -> Account | None:
        """The merchant's file and key; without a file, None and the shipments are parked."""
        account = self._merchants.account(claim.merchant)
        if account is None:
            with contextlib.suppress(*TRANSIENT_ERRORS):
                await self._restore()
            account = self._merchants.account(claim.merchant)
        if (account is None or account.key is None) and await self._ledger.others_can(claim.merchant):
            await self._park(claim, ELSEWHERE_WAIT_S, tally)
            return None
        if account is None:
            # The file says how to call the API, so the shipments wait until it exists again.
            await self._pause(claim.merchant, NO_FILE, "")
            await self._end_cancelled(claim, tally)
            return None
        if account.key is None:
            await self._pause(claim.merchant, NO_KEY, account.digest)
        return account

    def _start(
        self, account: Account, claim: Claim, fell_back: Callable[[FellBack], None], tally: Tally
    ) -> "asyncio.Task[None]":
        batch = Batch(
            account=account,
            claim=claim,
            ledger=self._ledger,
            api=self._api,
            alerts=self._alerts,
            budget=self._budgets.setdefault(account.api, RetryBudget()),
            wake_after=self._wake_after,
            on_finish=partial(tally.add, claim.merchant),
            fell_back=fell_back,
        )
        work = self._in_flight.begin(batch)
        tally.follow(work, batch)
        return work

    async def _pause(self, merchant: str, why: str, digest: str) -> None:
        if await self._ledger.pause(merchant, Pause(why=why), digest):
            self._alerts.paused(merchant, why)

    async def _end_cancelled(self, claim: Claim, tally: Tally) -> None:
        """Fail the cancelled shipments of a merchant without a file, and park the others."""
        now = self._ledger.now()
        ends = {shipment.reference: end_unread(shipment, now) for shipment in claim.shipments}
        for found in filter(None, ends.values()):
            await self._fail(claim, found, now, tally)
        left = tuple(shipment for shipment in claim.shipments if ends[shipment.reference] is None)
        await self._park(replace(claim, shipments=left), PAUSED_WAIT_S, tally)

    async def _fail(self, claim: Claim, found: Fail, now: float, tally: Tally) -> None:
        shipment = found.shipment
        steps = failed_steps(await self._ledger.history(shipment))
        event = failed_event(shipment, found.reason, found.message, steps, replay=shipment.replays, now=now)
        report = Report(
            shipment=shipment,
            lease_token=claim.lease_token,
            verdict="failed",
            event=event,
            reason=found.reason,
            settled_s=now - shipment.published,
        )
        if await self._ledger.report(report):
            tally.add(claim.merchant, "failed")
            self._alerts.failed(shipment, found.reason, found.message)

    async def _park(self, claim: Claim, wait_s: float, tally: Tally) -> None:
        """Park the claimed shipments, unchanged."""
        due = self._ledger.now() + wait_s
        waiting = [*claim.shipments, *(stand_in(record) for record in claim.unreadable)]
        written = await self._ledger.report_all(
            [Report(shipment=shipment, lease_token=claim.lease_token, verdict="park", due=due) for shipment in waiting]
        )
        tally.add(claim.merchant, "parked", sum(written))
