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
from tasks.work.ports import Account, Paused, Report, Taken
from worker.ledger.ledger import Ledger
from worker.observability.sentry import Reports
from worker.processes.in_flight import InFlight
from worker.processes.merchant_files import Merchants

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
        merchants: Merchants,
        api: Api,
        reports: Reports,
        in_flight: InFlight,
        wake_in: Callable[[float], None],
    ) -> None:
        """`wake_in`: told in how many seconds something parked comes due."""
        self._ledger = ledger
        self._merchants = merchants
        self._api = api
        self._reports = reports
        self._in_flight = in_flight
        self._wake_in = wake_in
        self._budgets: dict[str, RetryBudget] = {}

    async def begin(
        self, taken: Taken, fell_back: Callable[[FellBack], None], tally: Counter[str]
    ) -> "asyncio.Task[None] | None":
        """Begin the work; None if the shipments wait instead.

        `fell_back` is told of shipments that stand at their next step, `tally` counts how shipments leave.
        """
        try:
            account = await self._account(taken)
            return self._in_flight.begin(self._batch(account, taken, fell_back, tally)) if account else None
        except Exception:
            log.exception("batch_not_begun", merchant=taken.merchant, next="its shipments are due again later")
            await self._park(taken, BROKEN_WAIT_S)
            return None

    async def _account(self, taken: Taken) -> Account | None:
        """The merchant's file and key; without a file its shipments wait."""
        account = self._merchants.account(taken.merchant)
        if (account is None or account.key is None) and await self._ledger.others_can(taken.merchant):
            await self._park(taken, ELSEWHERE_WAIT_S)
            return None
        if account is None:
            # Without its file nothing is known of a merchant, so its shipments wait until the file is back.
            await self._pause(taken.merchant, NO_FILE, "")
            await self._park(taken, PAUSED_WAIT_S)
            return None
        if account.key is None:
            await self._pause(taken.merchant, NO_KEY, account.digest)
        return account

    def _batch(
        self, account: Account, taken: Taken, fell_back: Callable[[FellBack], None], tally: Counter[str]
    ) -> Batch:
        def left(end: str) -> None:
            tally[end] += 1

        return Batch(
            account=account,
            taken=taken,
            ledger=self._ledger,
            api=self._api,
            telemetry=self._reports,
            budget=self._budgets.setdefault(account.api, RetryBudget()),
            wake_in=self._wake_in,
            left=left,
            fell_back=fell_back,
        )

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
