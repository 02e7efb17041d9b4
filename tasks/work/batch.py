"""The work on shipments of one merchant that were taken together: each goes its own way, side by side."""

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
from tasks.work.bulk_call import side_by_side
from tasks.work.grouping import BulkGroups
from tasks.work.journal import Journal
from tasks.work.messages import FellBack
from tasks.work.ports import Account, Claim, Ledger, Permit
from tasks.work.requests import Requests
from tasks.work.visit import Visits

Way = Coroutine[Any, Any, None]


@dataclass(kw_only=True, slots=True, eq=False)
class Batch:
    """Shipments of one merchant. `left` is told how each left, `fell_back` of those at another step."""

    account: Account
    claim: Claim
    ledger: Ledger
    api: Api
    alerts: Alerts
    budget: RetryBudget
    wake_after: Callable[[float], None]
    left: Callable[[str], None]
    fell_back: Callable[[FellBack], None]
    owned: dict[str, Shipment] = field(init=False)
    visits: Visits = field(init=False)

    def __post_init__(self) -> None:
        """All that was taken is in our hands until it leaves them."""
        in_flight = self.account.merchant.file.limits.in_flight
        self.owned = {each.reference: each for each in (*self.claim.shipments, *self._stand_ins())}
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
            on_finish=self.left,
            fell_back=_handing_on(self.fell_back, self.claim.lease_token),
            turns=asyncio.Semaphore(in_flight) if in_flight else contextlib.nullcontext(),
        )

    async def run(self) -> None:
        """Go every way to its end. A bug on the way of some shipments is raised when the others have gone theirs."""
        await side_by_side(self._guarded(way, of) for way, of in self._ways())

    async def requeue(self) -> None:
        """Give up what is still in our hands: it is due at once, and read back first where a call was out."""
        await side_by_side(self.visits.requeue(shipment) for shipment in list(self.owned.values()))

    async def _guarded(self, way: Way, of: list[str]) -> None:
        """A bug on the way of some shipments loses no worker: they wait, longer each time, and others go on."""
        try:
            await way
        except Exception:
            for shipment in [self.owned[each] for each in of if each in self.owned]:
                waits = shipment.progress.waits
                waiting = shipment.with_progress(waits=waits + 1)
                await self.visits.requeue(waiting, wait_s=backoff.park(waits, 0.0))
            raise

    def _ways(self) -> Iterator[tuple[Way, list[str]]]:
        """Who shares a common call goes together; the others go alone."""
        shared: dict[tuple[AnyStrategy, bool], list[Call | ReadBack]] = defaultdict(list)
        at_once: list[Call] = []
        context = self.visits.requests.context(tries=0)
        for shipment in self.claim.shipments:
            try:
                first, most = self._first(shipment, context), self._most(shipment)
            except Exception as error:  # noqa: BLE001  # raised on its own way
                yield _raise(error), [shipment.reference]
                continue
            if isinstance(first, Call | ReadBack) and not first.pause_s and most > 1:
                shared[shipment.strategy, shipment.progress.group_size is None].append(first)
            elif isinstance(first, Call) and self._calls_at_once(shipment):
                at_once.append(first)
            else:
                yield self.visits.follow(first), [shipment.reference]
        if at_once:
            yield self._call_each(at_once), [decision.shipment.reference for decision in at_once]
        together = BulkGroups(visits=self.visits)
        for decisions in shared.values():
            yield from self._common(together, decisions)
        for found in self.claim.unreadable:
            yield self._look_at(found), [found.reference]

    def _calls_at_once(self, shipment: Shipment) -> bool:
        """Whether its first request is a call for an allocation that waits for no other one of this task."""
        file, strategy = self.account.merchant.file, shipment.strategy
        flavour = file.api.flavour
        return (
            not file.limits.in_flight
            and flavour not in strategy.needs_quote
            and not strategy.unsupported_reason(flavour)
        )

    async def _call_each(self, calls: list[Call]) -> None:
        """A call for each, all at once; their permits come in one round trip."""
        await self.visits.requests.ask_ahead([call.shipment for call in calls])
        await side_by_side(self._guarded(self.visits.follow(call), [call.shipment.reference]) for call in calls)

    def _common(self, together: BulkGroups, decisions: list[Call | ReadBack]) -> Iterator[tuple[Way, list[str]]]:
        if decisions[0].shipment.progress.group_size is not None:
            yield together.split(decisions), [decision.shipment.reference for decision in decisions]
            return
        most = self._most(decisions[0].shipment)
        for some in portions(decisions, most):
            yield together.work(some, most), [decision.shipment.reference for decision in some]

    def _most(self, shipment: Shipment) -> int:
        """How many shipments one call for its present step may carry."""
        api, strategy = self.account.merchant.file.api, shipment.strategy
        if strategy.unsupported_reason(api.flavour):
            return 1
        most = strategy.per_call(api.flavour, bulk=api.bulk)
        return min(most, shipment.progress.group_size or most)

    def _first(self, shipment: Shipment, context: Context) -> Decision:
        if self.account.key is None:
            return paused_decision(shipment, context, "its API key cannot be found", has_key=False)
        if self.claim.paused and shipment.reference != self.claim.probe:
            return paused_decision(shipment, context, self.claim.paused.why, has_key=True)
        if self.claim.paused:
            # The probe of a pause is a whole visit: it reads back first, whatever it is.
            shipment = shipment.with_progress(unread=True)
        return first_decision(shipment, context)

    def _stand_ins(self) -> Iterator[Shipment]:
        return (stand_in(found) for found in self.claim.unreadable)

    async def _look_at(self, found: UnreadableRecord) -> None:
        """Read back a shipment whose record cannot be read: that is all that can be done for it."""
        self.alerts.unreadable(found)
        shipment, visits = stand_in(found), self.visits
        sent = None
        if self.account.key is not None and not self.claim.paused:
            sent = await visits.requests.ask(shipment, "read", lambda r: self.api.read_back(self.account, r))
        if isinstance(sent, Permit) and not sent.owned:
            visits.release(shipment)
            return
        finding = None if sent is None or isinstance(sent, Permit) else sent.answer
        context = visits.requests.context(tries=0)
        await visits.leave(after_look(shipment, finding, found.error, context))


def _handing_on(fell_back: Callable[[FellBack], None], token: str) -> Callable[[Shipment], None]:
    """Not a method of the batch: the two would hold each other, and all shipments, until garbage is collected."""
    return lambda shipment: fell_back(FellBack(shipment, token))


async def _raise(error: Exception) -> None:
    raise error
