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
from tasks.rules.before_call import first_move, paused_move
from tasks.rules.decision import Call, Moment, Move, Read
from tasks.rules.shipment import Shipment
from tasks.rules.unreadable import Unreadable, after_look, stand_in
from tasks.work.alerts import Telemetry
from tasks.work.api import Api
from tasks.work.bulk_call import side_by_side
from tasks.work.grouping import Together, in_portions
from tasks.work.journal import Writer
from tasks.work.messages import FellBack
from tasks.work.ports import Account, Ledger, Permit, Taken
from tasks.work.requests import Requests
from tasks.work.visit import Visits

Way = Coroutine[Any, Any, None]


@dataclass(kw_only=True, slots=True, eq=False)
class Batch:
    """Shipments of one merchant. `left` is told how each left, `fell_back` of those at another step."""

    account: Account
    taken: Taken
    ledger: Ledger
    api: Api
    telemetry: Telemetry
    budget: RetryBudget
    wake_in: Callable[[float], None]
    left: Callable[[str], None]
    fell_back: Callable[[FellBack], None]
    in_hands: dict[str, Shipment] = field(init=False)
    visits: Visits = field(init=False)

    def __post_init__(self) -> None:
        """All that was taken is in our hands until it leaves them."""
        in_flight = self.account.merchant.file.limits.in_flight
        self.in_hands = {each.reference: each for each in (*self.taken.shipments, *self._stand_ins())}
        requests = Requests(account=self.account, task=self.taken.task, ledger=self.ledger, budget=self.budget)
        requests.admit(self.taken)
        self.visits = Visits(
            requests=requests,
            api=self.api,
            writer=Writer(
                account=self.account,
                taken=self.taken,
                ledger=self.ledger,
                telemetry=self.telemetry,
                wake_in=self.wake_in,
            ),
            telemetry=self.telemetry,
            in_hands=self.in_hands,
            left_as=self.left,
            fell_back=_handing_on(self.fell_back, self.taken.task),
            turns=asyncio.Semaphore(in_flight) if in_flight else contextlib.nullcontext(),
        )

    async def run(self) -> None:
        """Go every way to its end. A bug on the way of some shipments is raised when the others have gone theirs."""
        await side_by_side(self._guarded(way, of) for way, of in self._ways())

    async def hand_back(self) -> None:
        """Give up what is still in our hands: it is due at once, and read back first where a call was out."""
        await side_by_side(self.visits.hand_back(shipment) for shipment in list(self.in_hands.values()))

    async def _guarded(self, way: Way, of: list[str]) -> None:
        """A bug on the way of some shipments loses no worker: they wait, longer each time, and others go on."""
        try:
            await way
        except Exception:
            for shipment in [self.in_hands[each] for each in of if each in self.in_hands]:
                waits = shipment.progress.waits
                waiting = shipment.with_progress(waits=waits + 1)
                await self.visits.hand_back(waiting, wait_s=backoff.park(waits, 0.0))
            raise

    def _ways(self) -> Iterator[tuple[Way, list[str]]]:
        """Who shares a common call goes together; the others go alone."""
        shared: dict[tuple[AnyStrategy, bool], list[Call | Read]] = defaultdict(list)
        at_once: list[Call] = []
        moment = self.visits.requests.moment(tries=0)
        for shipment in self.taken.shipments:
            try:
                first, most = self._first(shipment, moment), self._most(shipment)
            except Exception as error:  # noqa: BLE001  # raised on its own way
                yield _raise(error), [shipment.reference]
                continue
            if isinstance(first, Call | Read) and not first.pause_s and most > 1:
                shared[shipment.strategy, shipment.progress.company is None].append(first)
            elif isinstance(first, Call) and self._calls_at_once(shipment):
                at_once.append(first)
            else:
                yield self.visits.follow(first), [shipment.reference]
        if at_once:
            yield self._call_each(at_once), [move.shipment.reference for move in at_once]
        together = Together(visits=self.visits)
        for moves in shared.values():
            yield from self._common(together, moves)
        for found in self.taken.unreadable:
            yield self._look_at(found), [found.reference]

    def _calls_at_once(self, shipment: Shipment) -> bool:
        """Whether its first request is a call for an allocation that waits for no other one of this task."""
        file, strategy = self.account.merchant.file, shipment.strategy
        flavour = file.api.flavour
        return not file.limits.in_flight and flavour not in strategy.needs_quote and not strategy.unfit(flavour)

    async def _call_each(self, calls: list[Call]) -> None:
        """A call for each, all at once; their permits come in one round trip."""
        await self.visits.requests.ask_ahead([call.shipment for call in calls])
        await side_by_side(self._guarded(self.visits.follow(call), [call.shipment.reference]) for call in calls)

    def _common(self, together: Together, moves: list[Call | Read]) -> Iterator[tuple[Way, list[str]]]:
        if moves[0].shipment.progress.company is not None:
            yield together.split(moves), [move.shipment.reference for move in moves]
            return
        most = self._most(moves[0].shipment)
        for some in in_portions(moves, most):
            yield together.work(some, most), [move.shipment.reference for move in some]

    def _most(self, shipment: Shipment) -> int:
        """How many shipments one call for its present step may carry."""
        api, strategy = self.account.merchant.file.api, shipment.strategy
        if strategy.unfit(api.flavour):
            return 1
        most = strategy.per_call(api.flavour, bulk=api.bulk)
        return min(most, shipment.progress.company or most)

    def _first(self, shipment: Shipment, moment: Moment) -> Move:
        if self.account.key is None:
            return paused_move(shipment, moment, "its API key cannot be found", has_key=False)
        if self.taken.paused and shipment.reference != self.taken.probe:
            return paused_move(shipment, moment, self.taken.paused.why, has_key=True)
        if self.taken.paused:
            # The probe of a pause is a whole visit: it reads back first, whatever it is.
            shipment = shipment.with_progress(unread=True)
        return first_move(shipment, moment)

    def _stand_ins(self) -> Iterator[Shipment]:
        return (stand_in(found) for found in self.taken.unreadable)

    async def _look_at(self, found: Unreadable) -> None:
        """Read back a shipment whose record cannot be read: that is all that can be done for it."""
        self.telemetry.unreadable(found)
        shipment, visits = stand_in(found), self.visits
        sent = None
        if self.account.key is not None and not self.taken.paused:
            sent = await visits.requests.ask(shipment, "read", lambda r: self.api.read_back(self.account, r))
        if isinstance(sent, Permit) and not sent.held:
            visits.let_go(shipment)
            return
        finding = None if sent is None or isinstance(sent, Permit) else sent.answer
        moment = visits.requests.moment(tries=0)
        await visits.leave(after_look(shipment, finding, found.error, moment))


def _handing_on(fell_back: Callable[[FellBack], None], token: str) -> Callable[[Shipment], None]:
    """Not a method of the batch: the two would hold each other, and all shipments, until garbage is collected."""
    return lambda shipment: fell_back(FellBack(shipment, token))


async def _raise(error: Exception) -> None:
    raise error
