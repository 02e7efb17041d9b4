"""The work on a micro-batch: every shipment goes its own way, side by side, and is settled when it is there."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, assert_never

from config.strategies.catalogue import AnyStrategy
from tasks.backoff import SHORT_TRIES, RetryBudget
from tasks.chains import by_way
from tasks.move import (
    Call,
    Fail,
    FallBack,
    Moment,
    Move,
    Park,
    Read,
    Settle,
    after_call,
    after_read,
    first_move,
    held_up,
    paused_move,
)
from tasks.outcome import Health, Outcome, Refused, health
from tasks.ports import Account, Api, Ledger, Permit, PermitRequest, Report, Taken, Telemetry
from tasks.shipment import Shipment, lost_call
from tasks.writing import End, Entry, Writer

FallingBack = Callable[[list[Shipment]], Awaitable[None]]
"""Called with shipments that fell back, the same way, after the task had returned."""


@dataclass(kw_only=True, slots=True, eq=False)
class Batch:
    """One task's shipments. `run` returns when all are done or its patience is over; slow ones then go on alone."""

    account: Account
    taken: Taken
    ledger: Ledger
    api: Api
    telemetry: Telemetry
    budget: RetryBudget
    wake_in: Callable[[float], None]
    writer: Writer = field(init=False)
    in_hands: dict[str, Shipment] = field(init=False)
    called_for: set[str] = field(default_factory=set)
    fallen_back: list[Shipment] = field(default_factory=list)
    work: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        """All that was taken is in our hands until it leaves them."""
        self.in_hands = {shipment.reference: shipment for shipment in self.taken.shipments}
        self.writer = Writer(
            account=self.account,
            taken=self.taken,
            ledger=self.ledger,
            telemetry=self.telemetry,
            wake_in=self.wake_in,
        )

    def start(self) -> None:
        """Set out on every way; needs the running loop."""
        self.work = {asyncio.create_task(way) for way in self._ways()}

    async def run(self, patience_s: float, late: FallingBack) -> tuple[list[Shipment], asyncio.Task[None] | None]:
        """Wait for the work; return what fell back in time, and the task that goes on with slow calls, if any.

        That task also raises what was raised by now: a bug in the way of one shipment does not stand in the others'.
        """
        if not self.work:
            return [], None
        done, slow = await asyncio.wait(self.work, timeout=patience_s)
        in_time, self.fallen_back = self.fallen_back, []
        if not slow and not _raised(done):
            return in_time, None
        return in_time, asyncio.create_task(self.go_on(patience_s, late))

    async def go_on(self, look_every_s: float, late: FallingBack) -> None:
        """Follow the work to its end; what falls back meanwhile is passed on to `late`, every so many seconds."""
        slow = self.work
        while slow:
            _, slow = await asyncio.wait(slow, timeout=look_every_s)
            falling, self.fallen_back = self.fallen_back, []
            for same_way in by_way(falling):
                await late(same_way)
        if raised := _raised(self.work):
            raise BaseExceptionGroup("work on a batch", raised)

    async def hand_back(self) -> None:
        """Stop, and give up what is still in our hands: it is due at once, and read back first where a call was out."""
        for task in self.work:
            task.cancel()
        await asyncio.gather(*self.work, return_exceptions=True)
        for shipment in list(self.in_hands.values()):
            left = lost_call(shipment) if shipment.reference in self.called_for else shipment
            await self._leave(End(move=Park(shipment=left, wait_s=0.0)))

    def _ways(self) -> Iterator[Coroutine[Any, Any, None]]:
        """Those who must be read back or wait go alone; the others by the calls that can carry them."""
        to_call: dict[AnyStrategy, list[Shipment]] = defaultdict(list)
        moment = self._moment(tries=0)
        for shipment in self.taken.shipments:
            first = self._first(shipment, moment)
            if isinstance(first, Call):
                to_call[shipment.strategy].append(shipment)
            else:
                yield self._go(first, tries=0)
        for strategy, shipments in to_call.items():
            most = self._most(strategy)
            if most == 1 or len(shipments) == 1:
                yield self._call_each(shipments)
            else:
                yield from (self._call_for_all(shipments[i : i + most]) for i in range(0, len(shipments), most))

    def _most(self, strategy: AnyStrategy) -> int:
        api = self.account.merchant.file.api
        return 1 if strategy.unfit(api.flavour) else strategy.per_call(api.flavour, bulk=api.bulk)

    def _first(self, shipment: Shipment, moment: Moment) -> Move:
        if self.account.key is None:
            return paused_move(shipment, moment, "its API key cannot be found")
        if self.taken.paused:
            return paused_move(shipment, moment, self.taken.paused)
        return first_move(shipment, moment)

    async def _go(self, move: Move, tries: int) -> None:
        """Follow one shipment from move to move until it leaves this task."""
        match move:
            case Call():
                await self._call(move, tries)
            case Read():
                await self._read(move, tries)
            case FallBack() | Park() | Settle() | Fail():
                await self._leave(End(move=move))
            case _:
                assert_never(move)

    async def _call_each(self, shipments: Sequence[Shipment]) -> None:
        """A call for each, all at once; their permits come in one round trip."""
        permits = await self.ledger.permit_all([self._request(shipment, "allocate") for shipment in shipments])
        calls = [Call(shipment=shipment) for shipment in shipments]
        await _side_by_side(self._call(call, 0, permit) for call, permit in zip(calls, permits, strict=True))

    async def _call_for_all(self, group: Sequence[Shipment]) -> None:
        """One call for all of them, which takes one place within the merchant's calls per second."""
        first, *others = group
        requests = [self._request(shipment, "allocate", takes_place=shipment is first) for shipment in group]
        permits = await self.ledger.permit_together(requests)
        if not permits[0].may_call:
            # The API or the merchant's limit is in the way, and would be for the others too.
            await _side_by_side([self._stay_behind(first, permits[0]), self._call_each(others)])
            return
        asked = list(zip(group, permits, strict=True))
        await _side_by_side(self._stay_behind(shipment, permit) for shipment, permit in asked if not permit.may_call)
        await _pause(max(permit.wait_s for _, permit in asked if permit.may_call))
        held = [shipment for shipment, permit in asked if permit.may_call]
        began = time.monotonic()
        outcomes = await self._allocate(held)
        await self._after_call_for_all(held, outcomes, time.monotonic() - began)

    async def _after_call_for_all(
        self, held: Sequence[Shipment], outcomes: Mapping[str, Outcome], took_s: float
    ) -> None:
        """Those who are settled or refused leave together; the others go on, each its own way."""
        leaving: list[tuple[End, Report]] = []
        ways: list[Coroutine[Any, Any, None]] = []
        for shipment in held:
            try:
                move, entry, answer = self._judge(shipment, outcomes[shipment.reference], took_s, tries=1)
                if isinstance(move, Settle | FallBack):
                    end = End(move=move, entry=entry, answer=answer)
                    leaving.append((end, self.writer.report_of(move, end)))
                else:
                    ways.append(self._next(move, entry, answer, tries=1))
            except Exception as error:  # noqa: BLE001  # a bug in the way of one shipment, raised beside the others'
                ways.append(_raising(error))
        await _side_by_side([self._leave_together(leaving), *ways])

    def _request(
        self, shipment: Shipment, purpose: Literal["read", "allocate"], *, takes_place: bool = True
    ) -> PermitRequest:
        return PermitRequest(
            shipment=shipment,
            task=self.taken.task,
            purpose=purpose,
            per_second=self.account.merchant.file.limits.per_second if takes_place else 0.0,
            api=self.account.api,
        )

    async def _may_go(self, shipment: Shipment, permit: Permit) -> bool:
        """Whether the call may go out, once its time has come; a shipment that may not is parked or let go."""
        if permit.may_call:
            await _pause(permit.wait_s)
            return True
        await self._stay_behind(shipment, permit)
        return False

    async def _stay_behind(self, shipment: Shipment, permit: Permit) -> None:
        if permit.held:
            await self._leave(End(move=held_up(shipment, self._moment(tries=0), permit.wait_s)))
        else:
            self._let_go(shipment)

    async def _allocate(self, shipments: Sequence[Shipment]) -> Mapping[str, Outcome]:
        merchant, strategy = self.account.merchant, shipments[0].strategy
        references = [shipment.reference for shipment in shipments]
        if unfit := strategy.unfit(merchant.file.api.flavour):
            # The plan is from before the merchant changed to the other generation of the API.
            return dict.fromkeys(references, Refused(reason="strategy_unfit", message=unfit))
        self.called_for.update(references)
        return await self.api.allocate(merchant, self.account.key or "", strategy, references)

    async def _call(self, move: Call, tries: int, permit: Permit | None = None) -> None:
        await _pause(move.pause_s)
        shipment = move.shipment
        permit = permit or await self.ledger.permit(self._request(shipment, "allocate"))
        if not await self._may_go(shipment, permit):
            return
        began = time.monotonic()
        outcomes = await self._allocate([shipment])
        took_s = time.monotonic() - began
        await self._next(*self._judge(shipment, outcomes[shipment.reference], took_s, tries + 1), tries + 1)

    def _judge(self, shipment: Shipment, outcome: Outcome, took_s: float, tries: int) -> tuple[Move, Entry, Health]:
        """What a call comes to: the next move, the entry for the story, and how the API did."""
        answer = health(outcome)
        move = after_call(shipment, outcome, self._moment(self._afforded(answer, tries)))
        return move, self.writer.entry("allocate", shipment, outcome, took_s), answer

    async def _read(self, move: Read, tries: int) -> None:
        await _pause(move.pause_s)
        shipment = move.shipment
        if not await self._may_go(shipment, await self.ledger.permit(self._request(shipment, "read"))):
            return
        began = time.monotonic()
        finding = await self.api.read_back(self.account.merchant, self.account.key or "", shipment.reference)
        entry = self.writer.entry("read", shipment, finding, time.monotonic() - began)
        answer = health(finding)
        move_on = after_read(shipment, finding, self._moment(self._afforded(answer, tries + 1)))
        await self._next(move_on, entry, answer, tries + 1)

    def _afforded(self, answer: Health, tries: int) -> int:
        """While an API answers badly, each further call in this visit must be afforded; else the visit is over."""
        if answer == "good":
            self.budget.earn()
            return tries
        return tries if self.budget.spend() else SHORT_TRIES

    async def _next(self, move: Move, entry: Entry, answer: Health, tries: int) -> None:
        """Write the entry; go on if the shipment stays with this task."""
        if not isinstance(move, Call | Read):
            await self._leave(End(move=move, entry=entry, answer=answer))
        elif noted := await self.writer.keep(move.shipment, entry, answer):
            self.in_hands[noted.reference] = noted
            self.called_for.discard(noted.reference)
            await self._go(replace(move, shipment=noted), tries)
        else:
            self._let_go(move.shipment)

    async def _leave(self, end: End) -> None:
        self._left(end, written=await self.writer.leave(end))

    async def _leave_together(self, leaving: Sequence[tuple[End, Report]]) -> None:
        written = await self.ledger.report_all([report for _, report in leaving])
        for (end, _), one_written in zip(leaving, written, strict=True):
            self._left(end, written=one_written)

    def _left(self, end: End, *, written: bool) -> None:
        shipment = end.move.shipment
        if written and isinstance(end.move, FallBack):
            self.fallen_back.append(shipment)
        self._let_go(shipment)

    def _let_go(self, shipment: Shipment) -> None:
        self.in_hands.pop(shipment.reference, None)

    def _moment(self, tries: int) -> Moment:
        retry = self.account.merchant.file.retry
        return Moment(now=self.ledger.now(), random=random.random(), tries=tries, retry=retry)  # noqa: S311  # jitter


async def _pause(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)


async def _raising(error: Exception) -> None:
    raise error


def _raised(done: set[asyncio.Task[None]]) -> list[BaseException]:
    """Outcomes are values; what was raised all the same is a bug or a lost ledger."""
    return [error for task in done if not task.cancelled() and (error := task.exception())]


async def _side_by_side(ways: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Go every way to its end, and only then raise what was raised on one."""
    raised = [error for error in await asyncio.gather(*ways, return_exceptions=True) if error]
    if raised:
        raise BaseExceptionGroup("work on one call", raised)
