"""The work on a micro-batch: every shipment goes its own way, side by side, and is settled when it is there."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, assert_never

from config.strategies.catalogue import AnyStrategy
from tasks.backoff import SHORT_TRIES, RetryBudget
from tasks.events import allocated_event, failed_event
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
from tasks.outcome import WORDS, Finding, Health, Outcome, Refused, health
from tasks.ports import Account, Api, Handover, Ledger, PermitRequest, Report, Taken, Telemetry, Verdict
from tasks.shipment import Shipment, iso, lost_call

Leave = Settle | FallBack | Park | Fail

FallingBack = Callable[[list[Shipment]], Awaitable[None]]
"""Called with shipments that fell back, the same way, after the task had returned."""


@dataclass(kw_only=True, slots=True, eq=False)
class Batch:
    """One task's shipments. `run` returns when all are done or `patience_s` is over; slow ones then go on alone."""

    account: Account
    taken: Taken
    ledger: Ledger
    api: Api
    telemetry: Telemetry
    budget: RetryBudget
    wake_in: Callable[[float], None]
    in_hands: dict[str, Shipment] = field(init=False)
    fallen_back: list[Shipment] = field(default_factory=list)
    work: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        """All that was taken is in our hands until it leaves them, in the state in which it would be handed back."""
        self.in_hands = {shipment.reference: shipment for shipment in self.taken.shipments}

    async def run(self, patience_s: float, late: FallingBack) -> tuple[list[Shipment], asyncio.Task[None] | None]:
        """Work; return what fell back in time, and the task that goes on with slow calls, if there are any.

        That task also raises what was raised by now: a bug in the way of one shipment does not stand in the others'.
        """
        self.work = {asyncio.create_task(self._work_on(group)) for group in self._groups()}
        if not self.work:
            return [], None
        done, slow = await asyncio.wait(self.work, timeout=patience_s)
        in_time, self.fallen_back = self.fallen_back, []
        if not slow and not _raised(done):
            return in_time, None
        return in_time, asyncio.create_task(self._go_on(slow, patience_s, late))

    async def _go_on(self, slow: set[asyncio.Task[None]], patience_s: float, late: FallingBack) -> None:
        while slow:
            _, slow = await asyncio.wait(slow, timeout=patience_s)
            falling, self.fallen_back = self.fallen_back, []
            for same_way in by_way(falling):
                await late(same_way)
        if raised := _raised(self.work):
            raise BaseExceptionGroup("work on a batch", raised)

    def _groups(self) -> Iterator[tuple[Shipment, ...]]:
        """Shipments that one call can ask for together; whoever must be read back goes alone."""
        together: dict[AnyStrategy, list[Shipment]] = defaultdict(list)
        for shipment in self.taken.shipments:
            if self._most(shipment.strategy) == 1 or self._must_go_alone(shipment):
                yield (shipment,)
            else:
                together[shipment.strategy].append(shipment)
        for strategy, shipments in together.items():
            most = self._most(strategy)
            for start in range(0, len(shipments), most):
                yield tuple(shipments[start : start + most])

    def _most(self, strategy: AnyStrategy) -> int:
        api = self.account.merchant.file.api
        return 1 if strategy.unfit(api.flavour) else strategy.per_call(api.flavour, bulk=api.bulk)

    def _must_go_alone(self, shipment: Shipment) -> bool:
        return self.account.key is None or not isinstance(self._first(shipment), Call)

    def _first(self, shipment: Shipment) -> Move:
        moment = self._moment(tries=0)
        if self.account.key is None:
            return paused_move(shipment, moment, "its API key cannot be found")
        if self.taken.paused:
            return paused_move(shipment, moment, self.taken.paused)
        return first_move(shipment, moment)

    async def _work_on(self, group: Sequence[Shipment]) -> None:
        if len(group) == 1:
            await self._go(self._first(group[0]), tries=0)
        else:
            await self._go_together(group)

    async def _go_together(self, group: Sequence[Shipment]) -> None:
        """One call for all of them, which takes one place within the merchant's calls per second."""
        first, *others = group
        leads = await self._permitted(first, "allocate")
        if leads is None:
            # The API or the merchant's limit is in the way, and would be for the others too.
            await _side_by_side(self._go(Call(shipment=shipment), tries=0) for shipment in others)
            return
        permits = await asyncio.gather(*(self._permitted(s, "allocate", of_many=True) for s in others))
        held = [first, *(s for s, permit in zip(others, permits, strict=True) if permit is not None)]
        await _pause(max([leads, *(permit for permit in permits if permit is not None)]))
        began = time.monotonic()
        outcomes = await self._allocate(held)
        took_s = time.monotonic() - began
        await _side_by_side(self._called(s, outcomes[s.reference], took_s, tries=1) for s in held)

    async def _permitted(
        self, shipment: Shipment, purpose: Literal["read", "allocate"], *, of_many: bool = False
    ) -> float | None:
        """How long to wait before the call, in seconds; None when the shipment was parked or is not ours any more."""
        request = PermitRequest(
            shipment=shipment,
            task=self.taken.task,
            purpose=purpose,
            per_second=0.0 if of_many else self.account.merchant.file.limits.per_second,
            api=self.account.api,
        )
        permit = await self.ledger.permit(request)
        if not permit.held:
            self._let_go(shipment)
            return None
        if permit.park:
            await self._leave(held_up(shipment, self._moment(tries=0), permit.wait_s), None)
            return None
        return permit.wait_s

    async def _allocate(self, shipments: Sequence[Shipment]) -> dict[str, Outcome]:
        merchant, strategy = self.account.merchant, shipments[0].strategy
        references = [shipment.reference for shipment in shipments]
        if unfit := strategy.unfit(merchant.file.api.flavour):
            # The plan is from before the merchant changed to the other generation of the API.
            return dict.fromkeys(references, Refused(reason="strategy_unfit", message=unfit))
        self.in_hands |= {shipment.reference: lost_call(shipment) for shipment in shipments}
        return dict(await self.api.allocate(merchant, self.account.key or "", strategy, references))

    async def _go(self, move: Move, tries: int) -> None:
        """Follow one shipment from move to move until it leaves this task."""
        match move:
            case Call():
                await self._call(move, tries)
            case Read():
                await self._read(move, tries)
            case FallBack() | Park() | Settle() | Fail():
                await self._leave(move, None)
            case _:
                assert_never(move)

    async def _call(self, move: Call, tries: int) -> None:
        await _pause(move.pause_s)
        shipment = move.shipment
        wait_s = await self._permitted(shipment, "allocate")
        if wait_s is None:
            return
        await _pause(wait_s)
        began = time.monotonic()
        outcomes = await self._allocate([shipment])
        await self._called(shipment, outcomes[shipment.reference], time.monotonic() - began, tries + 1)

    async def _called(self, shipment: Shipment, outcome: Outcome, took_s: float, tries: int) -> None:
        move = after_call(shipment, outcome, self._moment(self._afforded(outcome, tries)))
        await self._next(move, self._entry("allocate", shipment, outcome, took_s), tries, health(outcome))

    async def _read(self, move: Read, tries: int) -> None:
        await _pause(move.pause_s)
        shipment = move.shipment
        wait_s = await self._permitted(shipment, "read")
        if wait_s is None:
            return
        await _pause(wait_s)
        began = time.monotonic()
        finding = await self.api.read_back(self.account.merchant, self.account.key or "", shipment.reference)
        entry = self._entry("read", shipment, finding, time.monotonic() - began)
        move_on = after_read(shipment, finding, self._moment(self._afforded(finding, tries + 1)))
        await self._next(move_on, entry, tries + 1, health(finding))

    def _afforded(self, finding: Finding, tries: int) -> int:
        """While an API answers badly, each further call in this visit must be afforded; else the visit is over."""
        if health(finding) == "good":
            self.budget.earn()
            return tries
        return tries if self.budget.spend() else SHORT_TRIES

    async def _next(self, move: Move, entry: dict[str, Any], tries: int, answer: Health) -> None:
        """Write the entry; go on if the shipment stays with this task."""
        if not isinstance(move, Call | Read):
            await self._leave(move, entry, answer)
        elif await self._report(move.shipment, "keep", entry, answer=answer):
            progress = move.shipment.progress
            noted = move.shipment.with_progress(entries=progress.entries + 1)
            self.in_hands[noted.reference] = noted
            await self._go(replace(move, shipment=noted), tries)
        else:
            self._let_go(move.shipment)

    def _let_go(self, shipment: Shipment) -> None:
        self.in_hands.pop(shipment.reference, None)

    async def _leave(self, move: Leave, entry: dict[str, Any] | None, answer: Health | Literal[""] = "") -> None:
        await self._write(move, entry, answer)
        self._let_go(move.shipment)

    async def _write(self, move: Leave, entry: dict[str, Any] | None, answer: Health | Literal[""]) -> None:
        match move:
            case Settle():
                await self._settle(move, entry, answer)
            case FallBack(shipment=shipment):
                if await self._report(shipment, "hand", entry, answer=answer):
                    self.fallen_back.append(shipment)
            case Park():
                await self._park(move, entry, answer)
            case Fail():
                await self._fail(move, entry, answer)
            case _:
                assert_never(move)

    async def _settle(self, move: Settle, entry: dict[str, Any] | None, answer: Health | Literal[""]) -> None:
        event = allocated_event(move.shipment, move.allocated, adopted=move.adopted, now=self.ledger.now())
        await self._report(move.shipment, "allocated", entry, event=event, answer=answer)

    async def _park(self, move: Park, entry: dict[str, Any] | None, answer: Health | Literal[""]) -> None:
        if move.pause_merchant is not None:
            name, digest = self.account.merchant.name, self.account.digest
            if await self.ledger.pause(name, move.pause_merchant, digest):
                self.telemetry.paused(name, move.pause_merchant)
        await self._report(move.shipment, "park", entry, due=self.ledger.now() + move.wait_s, answer=answer)
        self.wake_in(move.wait_s)

    async def hand_back(self) -> None:
        """Stop, and give up what is still in our hands: it is due at once, and read back first where a call was out."""
        for task in self.work:
            task.cancel()
        await asyncio.gather(*self.work, return_exceptions=True)
        for shipment in list(self.in_hands.values()):
            await self._leave(Park(shipment=shipment, wait_s=0.0), None)

    async def _fail(self, move: Fail, entry: dict[str, Any] | None, answer: Health | Literal[""]) -> None:
        story = [*await self.ledger.story(move.shipment), *([entry] if entry else [])]
        steps = [{name: e.get(name) for name in _OF_A_STEP} for e in story if e.get("do") == "allocate"]
        replay, now = move.shipment.replays, self.ledger.now()
        event = failed_event(move.shipment, move.reason, move.message, steps, replay=replay, now=now)
        if await self._report(move.shipment, "failed", entry, event=event, reason=move.reason, answer=answer):
            self.telemetry.failed(move.shipment, move.reason, move.message)

    async def _report(
        self,
        shipment: Shipment,
        verdict: Verdict,
        entry: dict[str, Any] | None,
        *,
        due: float = 0.0,
        event: str = "",
        reason: str = "",
        answer: Health | Literal[""] = "",
    ) -> bool:
        noted = shipment.with_progress(entries=shipment.progress.entries + (entry is not None))
        report = Report(
            shipment=noted,
            task=self.taken.task,
            verdict=verdict,
            entry=entry,
            due=due,
            event=event,
            reason=reason,
            api=self.account.api,
            answer=answer,
        )
        return await self.ledger.report(report)

    def _entry(self, do: str, shipment: Shipment, finding: Finding, took_s: float) -> dict[str, Any]:
        entry = {
            "at": iso(self.ledger.now() - took_s),
            "do": do,
            "strategy": shipment.strategy.as_table(),
            "outcome": WORDS[type(finding)],
            "reason": finding.reason,
            "message": getattr(finding, "message", None) or None,
            "correlation_id": finding.correlation_id,
            "ms": round(took_s * 1000),
        }
        return {name: value for name, value in entry.items() if value is not None}

    def _moment(self, tries: int) -> Moment:
        retry = self.account.merchant.file.retry
        return Moment(now=self.ledger.now(), random=random.random(), tries=tries, retry=retry)  # noqa: S311  # jitter


_OF_A_STEP = ("strategy", "outcome", "reason", "correlation_id")


def by_way(shipments: Sequence[Shipment]) -> list[list[Shipment]]:
    """Shipments grouped by the steps that lie before them: each group can share a chain."""
    ways: dict[Any, list[Shipment]] = defaultdict(list)
    for shipment in shipments:
        ways[shipment.progress.step, shipment.steps[shipment.progress.step :]].append(shipment)
    return list(ways.values())


def handover(shipments: Sequence[Shipment], token: str) -> Handover:
    """What the next link of a chain is told about shipments that stand at the same step."""
    first = shipments[0]
    return Handover(
        merchant=first.merchant,
        shipments=len(shipments),
        strategy=str(first.strategy),
        step=first.progress.step,
        token=token,
        references=tuple(shipment.reference for shipment in shipments),
    )


async def _pause(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)


def _raised(done: set[asyncio.Task[None]]) -> list[BaseException]:
    """Outcomes are values; what was raised all the same is a bug or a lost ledger."""
    return [error for task in done if not task.cancelled() and (error := task.exception())]


async def _side_by_side(ways: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Go every way to its end, and only then raise what was raised on one."""
    raised = [error for error in await asyncio.gather(*ways, return_exceptions=True) if error]
    if raised:
        raise BaseExceptionGroup("work on one call", raised)
