"""The concurrent work on the shipments of one claim."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

from config.strategies.catalogue import AnyStrategy
from tasks.rules import backoff
from tasks.rules.backoff import RetryBudget
from tasks.rules.before_call import first_decision, paused_decision
from tasks.rules.decision import Call, Context, Decision, ReadBack
from tasks.rules.portions import portions
from tasks.rules.shipment import Shipment
from tasks.rules.unreadable import UnreadableRecord, after_look, stand_in
from tasks.work.alerts import Alerts
from tasks.work.api import Api
from tasks.work.bulk_call import run_all
from tasks.work.grouping import BulkGroups
from tasks.work.journal import Journal
from tasks.work.messages import FellBack
from tasks.work.ports import Account, Claim, Ledger, Permit
from tasks.work.requests import Requests
from tasks.work.visit import Visits

Job = Coroutine[Any, Any, None]
"""Works on some shipments of a batch until each has left."""


@dataclass(kw_only=True, slots=True, eq=False)
class Batch:
    """The shipments of one claim. `on_finish` is called with how each left, `fell_back` with those at a next step."""

    account: Account
    claim: Claim
    ledger: Ledger
    api: Api
    alerts: Alerts
    budget: RetryBudget
    wake_after: Callable[[float], None]
    on_finish: Callable[[str], None]
    fell_back: Callable[[FellBack], None]
    owned: dict[str, Shipment] = field(init=False)
    visits: Visits = field(init=False)

    def __post_init__(self) -> None:
        """All claimed shipments are owned until they leave."""
        in_flight = self.account.merchant.file.limits.in_flight
        self.owned = {shipment.reference: shipment for shipment in (*self.claim.shipments, *self._stand_ins())}
        requests = Requests(
            account=self.account, lease_token=self.claim.lease_token, ledger=self.ledger, budget=self.budget
        )
        requests.admit(self.claim)
        self.visits = Visits(
            requests=requests,
            api=self.api,
            journal=Journal(
                account=self.account,
                claim=self.claim,
                ledger=self.ledger,
                alerts=self.alerts,
                wake_after=self.wake_after,
            ),
            alerts=self.alerts,
            owned=self.owned,
            on_finish=self.on_finish,
            fell_back=_fall_back_callback(self.fell_back, self.claim.lease_token),
            limiter=asyncio.Semaphore(in_flight) if in_flight else contextlib.nullcontext(),
        )

    async def run(self) -> None:
        """Work on all shipments until they have left; errors are raised after that."""
        await run_all(self._guarded(job, references) for job, references in self._jobs())

    async def requeue(self) -> None:
        """Requeue all shipments still owned: due now, and read back first if a call was sent."""
        await run_all(self.visits.requeue(shipment) for shipment in list(self.owned.values()))

    async def _guarded(self, job: Job, references: list[str]) -> None:
        """Run a job; on an error, park its shipments with a growing wait and raise, without affecting other jobs."""
        try:
            await job
        except Exception:
            for shipment in [self.owned[reference] for reference in references if reference in self.owned]:
                waits = shipment.progress.waits
                waiting = shipment.with_progress(waits=waits + 1)
                await self.visits.requeue(waiting, wait_s=backoff.park(waits, 0.0))
            raise

    def _jobs(self) -> Iterator[tuple[Job, list[str]]]:
        """The jobs, each with its references: one for each bulk call, one for each other shipment."""
        shared: dict[tuple[AnyStrategy, bool], list[Call | ReadBack]] = defaultdict(list)
        at_once: list[Call] = []
        context = self.visits.requests.context(tries=0)
        for shipment in self.claim.shipments:
            try:
                first, max_per_call = self._first_decision(shipment, context), self._max_per_call(shipment)
            except Exception as error:  # noqa: BLE001  # raised by its own job
                yield _raise(error), [shipment.reference]
                continue
            if isinstance(first, Call | ReadBack) and not first.pause_s and max_per_call > 1:
                shared[shipment.strategy, shipment.progress.group_size is None].append(first)
            elif isinstance(first, Call) and self._may_call_at_once(shipment):
                at_once.append(first)
            else:
                yield self.visits.follow(first), [shipment.reference]
        if at_once:
            yield self._call_at_once(at_once), [decision.shipment.reference for decision in at_once]
        groups = BulkGroups(visits=self.visits)
        for decisions in shared.values():
            yield from self._bulk_jobs(groups, decisions)
        for record in self.claim.unreadable:
            yield self._read_back_unreadable(record), [record.reference]

    def _may_call_at_once(self, shipment: Shipment) -> bool:
        """Whether its first request is an allocation call that need not wait for other calls of this batch."""
        file, strategy = self.account.merchant.file, shipment.strategy
        flavour = file.api.flavour
        return (
            not file.limits.in_flight
            and flavour not in strategy.needs_quote
            and not strategy.unsupported_reason(flavour)
        )

    async def _call_at_once(self, calls: list[Call]) -> None:
        """Call for each shipment concurrently; all permits are requested in one round trip."""
        await self.visits.requests.permit_ahead([call.shipment for call in calls])
        await run_all(self._guarded(self.visits.follow(call), [call.shipment.reference]) for call in calls)

    def _bulk_jobs(self, groups: BulkGroups, decisions: list[Call | ReadBack]) -> Iterator[tuple[Job, list[str]]]:
        if decisions[0].shipment.progress.group_size is not None:
            yield groups.split(decisions), [decision.shipment.reference for decision in decisions]
            return
        max_per_call = self._max_per_call(decisions[0].shipment)
        for portion in portions(decisions, max_per_call):
            yield groups.work(portion, max_per_call), [decision.shipment.reference for decision in portion]

    def _max_per_call(self, shipment: Shipment) -> int:
        """How many shipments one call for its current step may carry."""
        api, strategy = self.account.merchant.file.api, shipment.strategy
        if strategy.unsupported_reason(api.flavour):
            return 1
        limit = strategy.per_call(api.flavour, bulk=api.bulk)
        return min(limit, shipment.progress.group_size or limit)

    def _first_decision(self, shipment: Shipment, context: Context) -> Decision:
        if self.account.key is None:
            return paused_decision(shipment, context, "its API key cannot be found", has_key=False)
        if self.claim.paused and shipment.reference != self.claim.probe:
            return paused_decision(shipment, context, self.claim.paused.why, has_key=True)
        if self.claim.paused:
            # The probe of a pause is a full visit: it always reads back first.
            shipment = shipment.with_progress(unread=True)
        return first_decision(shipment, context)

    def _stand_ins(self) -> Iterator[Shipment]:
        return (stand_in(record) for record in self.claim.unreadable)

    async def _read_back_unreadable(self, record: UnreadableRecord) -> None:
        """Read back a shipment whose record is unreadable; no other request can be made for it."""
        self.alerts.unreadable(record)
        shipment, visits = stand_in(record), self.visits
        sent = None
        if self.account.key is not None and not self.claim.paused:
            sent = await visits.requests.send_one(shipment, "read", lambda r: self.api.read_back(self.account, r))
        if isinstance(sent, Permit) and not sent.owned:
            visits.release(shipment)
            return
        finding = None if sent is None or isinstance(sent, Permit) else sent.response
        context = visits.requests.context(tries=0)
        await visits.leave(after_look(shipment, finding, record.error, context))


def _fall_back_callback(fell_back: Callable[[FellBack], None], token: str) -> Callable[[Shipment], None]:
    """Not a bound method, whose reference cycle with the batch would keep all shipments until garbage collection."""
    return lambda shipment: fell_back(FellBack(shipment, token))


async def _raise(error: Exception) -> None:
    raise error
