"""From what was taken to the work on it: the merchant's file and key, and a batch that is in flight."""

import asyncio
from collections import Counter
from collections.abc import Callable

import structlog

from tasks.rules.backoff import RetryBudget
from tasks.rules.next_decision import PAUSED_WAIT_S
from tasks.rules.unreadable import stand_in
from tasks.work.api import Api
from tasks.work.batch import Batch
from tasks.work.messages import FellBack
from tasks.work.ports import Account, Claim, Pause, Report
from worker.ledger.ledger import Ledger
from worker.observability.sentry import SentryAlerts
from worker.processes.in_flight import InFlight
from worker.processes.merchant_files import MerchantFiles

NO_KEY = "its API key cannot be found"
NO_FILE = "its merchant file is gone"

ELSEWHERE_WAIT_S = 5.0
"""How long shipments wait that came to a process without their merchant's file or key, while another one has both."""

BROKEN_WAIT_S = 60.0
"""How long shipments wait whose work could not even be begun."""

log = structlog.get_logger(__name__)


class Batches:
    """Begins the work on what a child has taken; lives in its loop."""

    def __init__(
        self,
        ledger: Ledger,
        merchants: MerchantFiles,
        api: Api,
        reports: SentryAlerts,
        in_flight: InFlight,
        wake_after: Callable[[float], None],
    ) -> None:
        """`wake_after`: told in how many seconds something parked comes due."""
        self._ledger = ledger
        self._merchants = merchants
        self._api = api
        self._reports = reports
        self._in_flight = in_flight
        self._wake_after = wake_after
        self._budgets: dict[str, RetryBudget] = {}

    async def begin(
        self, claim: Claim, fell_back: Callable[[FellBack], None], tally: Counter[str]
    ) -> "asyncio.Task[None] | None":
        """Begin the work; None if the shipments wait instead.

        `fell_back` is told of shipments that stand at their next step, `tally` counts how shipments leave.
        """
        try:
            account = await self._account(claim)
            return self._in_flight.begin(self._batch(account, claim, fell_back, tally)) if account else None
        except Exception:
            log.exception("batch_not_started", merchant=claim.merchant, next="its shipments are due again later")
            await self._park(claim, BROKEN_WAIT_S)
            return None

    async def _account(self, claim: Claim) -> Account | None:
        """The merchant's file and key; without a file its shipments wait."""
        account = self._merchants.account(claim.merchant)
        if (account is None or account.key is None) and await self._ledger.others_can(claim.merchant):
            await self._park(claim, ELSEWHERE_WAIT_S)
            return None
        if account is None:
            # Without its file nothing is known of a merchant, so its shipments wait until the file is back.
            await self._pause(claim.merchant, NO_FILE, "")
            await self._park(claim, PAUSED_WAIT_S)
            return None
        if account.key is None:
            await self._pause(claim.merchant, NO_KEY, account.digest)
        return account

    def _batch(
        self, account: Account, claim: Claim, fell_back: Callable[[FellBack], None], tally: Counter[str]
    ) -> Batch:
        def left(end: str) -> None:
            tally[end] += 1

        return Batch(
            account=account,
            claim=claim,
            ledger=self._ledger,
            api=self._api,
            alerts=self._reports,
            budget=self._budgets.setdefault(account.api, RetryBudget()),
            wake_after=self._wake_after,
            left=left,
            fell_back=fell_back,
        )

    async def _pause(self, merchant: str, why: str, digest: str) -> None:
        if await self._ledger.pause(merchant, Pause(why=why), digest):
            self._reports.paused(merchant, why)

    async def _park(self, claim: Claim, wait_s: float) -> None:
        """Put back what was taken, as it was."""
        due = self._ledger.now() + wait_s
        waiting = [*claim.shipments, *(stand_in(found) for found in claim.unreadable)]
        await self._ledger.report_all(
            [Report(shipment=each, lease_token=claim.lease_token, verdict="park", due=due) for each in waiting]
        )
