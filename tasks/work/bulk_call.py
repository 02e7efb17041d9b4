"""One call for several shipments: who takes part, what it brings, and how each of them goes on."""

import asyncio
import random
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from config.strategies.catalogue import AnyStrategy
from tasks.rules.after_call import after_call
from tasks.rules.before_call import held_up
from tasks.rules.decision import Call, Context, Decision, FallBack, ReadBack, Settle
from tasks.rules.outcome import BulkRefused, Outcome, Stopped
from tasks.rules.shipment import Shipment
from tasks.work.clock import boottime
from tasks.work.journal import CallRecord
from tasks.work.ports import Permit, Report, Request
from tasks.work.requests import BUSY_TRIES, BUSY_WAIT_S, MAX_PERMITS, WRITTEN_WITHIN_S, Sent, pause
from tasks.work.visit import Visits

Outcomes = Mapping[str, Outcome]


class _Carried(NamedTuple):
    """A shipment of an answered call: what follows, the report of an end, whether it was refused in company."""

    decision: Decision
    call_record: CallRecord
    report: Report | None
    in_group: bool


class Followed(NamedTuple):
    """Who goes on with this task: alone, or asked for again with fewer others. `raised`: bugs on the way of others."""

    alone: Sequence[Call | ReadBack] = ()
    in_group: Sequence[Call | ReadBack] = ()
    raised: Sequence[BaseException] = ()


@dataclass(kw_only=True, slots=True, eq=False)
class BulkCall:
    """One call, which takes one place within the merchant's calls per second and in flight."""

    visits: Visits
    strategy: AnyStrategy
    shipments: Sequence[Shipment]

    async def make(self) -> Followed:
        """Call, and record what it came to for each."""
        sent = await self._send()
        if sent is None:
            return Followed()
        carried, broken = await self._judge(sent)
        following, more = await self._record(carried)
        in_group = {each.decision.shipment.reference for each in carried if each.in_group}
        return Followed(
            alone=[decision for decision in following if decision.shipment.reference not in in_group],
            in_group=[decision for decision in following if decision.shipment.reference in in_group],
            raised=[*broken, *more],
        )

    async def _send(self) -> Sent[Outcomes] | None:
        """What the call brought; None when it was not sent and all have left."""
        requests, wait_s = self.visits.requests, WRITTEN_WITHIN_S
        for _ in range(MAX_PERMITS):
            asked_at, permit = await self._permits()
            if not permit.may_call:
                wait_s = permit.wait_s
                break
            await pause(permit.wait_s)
            if not requests.may_start(self.shipments):
                # A look at each shows what is to be done instead.
                wait_s = 0.0
                break
            sent = await requests.send(self.shipments, "allocate", self._allocate, asked_at, slot=permit.slot)
            if not sent.is_expired:
                return sent
        await self._hold_up({each.reference: wait_s for each in self.shipments})
        return None

    async def _allocate(self, request: Request) -> Outcomes:
        return await self.visits.api.allocate(self.visits.requests.account, self.strategy, request)

    async def _permits(self) -> tuple[float, Permit]:
        """When the permits were asked for, and the first one: what stands in its way stands in everybody's."""
        requests, tries = self.visits.requests, 0
        if ready := requests.ready(self.shipments):
            return ready
        while self.shipments and tries < BUSY_TRIES:
            first = self.shipments[0]
            wanted = [requests.request(each, "allocate", takes_slot=each is first) for each in self.shipments]
            asked_at, permits = boottime(), await self.visits.journal.ledger.permit_bulk(wanted)
            if permits[0].slot:
                requests.slots.add(first.reference)
            if permits[0].may_call:
                await self._postpone(permits)
            if permits[0].owned and not permits[0].busy:
                return asked_at, permits[0]
            if permits[0].busy:
                await pause(BUSY_WAIT_S * (1 + random.random()))  # noqa: S311  # jitter
                tries += 1
            else:
                self._release({first.reference})
        return 0.0, Permit(owned=True, wait_s=WRITTEN_WITHIN_S, park=True, by_limit=True)

    async def _postpone(self, permits: Sequence[Permit]) -> None:
        """Who is another's by now, or may not call although the first may, takes no part."""
        if all(permit.may_call for permit in permits):
            return
        call_record = [(each.reference, permit) for each, permit in zip(self.shipments, permits, strict=True)]
        self._release({each for each, permit in call_record if not permit.owned})
        await self._hold_up(
            {each: permit.wait_s for each, permit in call_record if permit.owned and not permit.may_call}
        )

    def _release(self, references: Collection[str]) -> None:
        for each in self._without(references):
            self.visits.release(each)

    async def _hold_up(self, waits: Mapping[str, float]) -> None:
        context = self.visits.requests.context(tries=0)
        decisions = [held_up(each, context, waits[each.reference], by_limit=True) for each in self._without(waits)]
        await side_by_side(self.visits.leave(decision) for decision in decisions)

    def _without(self, references: Collection[str]) -> list[Shipment]:
        """Go on without these; returns them."""
        leaving = [each for each in self.shipments if each.reference in references]
        if leaving:
            self.shipments = [each for each in self.shipments if each.reference not in references]
        return leaving

    async def _judge(self, sent: Sent[Outcomes]) -> tuple[list[_Carried], list[Exception]]:
        """What follows for each. A bug in the way of one does not stand in the others'."""
        carried, raised, requests = [], [], self.visits.requests
        first = requests.feedback(sent.answer[self.shipments[0].reference], "allocate")
        context = requests.context(requests.afforded(first, 1), sent.sent, group_size=len(self.shipments))
        for shipment in self.shipments:
            try:
                outcome = sent.answer[shipment.reference]
                if isinstance(outcome, Stopped):
                    outcome = await self._in_group(shipment, outcome)
                carried.append(self._judged(shipment, outcome, sent, context))
            except Exception as error:  # noqa: BLE001  # raised when the others have gone their way
                raised.append(error)
        return carried, raised

    def _judged(self, shipment: Shipment, outcome: Outcome, sent: Sent[Outcomes], context: Context) -> _Carried:
        visits, is_first = self.visits, shipment is self.shipments[0]
        feedback = visits.requests.feedback(sent.answer[shipment.reference], "allocate")
        call_record = visits.call_record(shipment, outcome, feedback, sent.took_s, slot=sent.slot and is_first)
        decision = after_call(shipment, outcome, context)
        report = None
        if isinstance(decision, Settle | FallBack):
            report = visits.journal.report_of(decision, call_record)
        return _Carried(
            decision=decision, call_record=call_record, report=report, in_group=isinstance(outcome, BulkRefused)
        )

    async def _in_group(self, shipment: Shipment, outcome: Stopped) -> Outcome:
        """A 403 that others with the same key do not get may be any one's."""
        denied_at = shipment.progress.denied_at
        if not denied_at or outcome.reason != "forbidden":
            return outcome
        last_good = await self.visits.journal.ledger.last_good(self.visits.requests.account.api, "allocate")
        if last_good <= denied_at or len(self.shipments) == 1:
            return outcome
        return BulkRefused(reason=outcome.reason, message=outcome.message, correlation_id=outcome.correlation_id)

    async def _record(self, carried: Sequence[_Carried]) -> tuple[list[Call | ReadBack], list[BaseException]]:
        """Who is settled or refused leaves in one round trip; returns those who go on."""
        staying, leaving = [], []
        for decision, call_record, report, _ in carried:
            if report is not None and isinstance(decision, Settle | FallBack):
                leaving.append((decision, report))
            else:
                staying.append(self.visits.record(decision, call_record))
        found = await asyncio.gather(self._leave_together(leaving), *staying, return_exceptions=True)
        following = [decision for decision in found if isinstance(decision, Call | ReadBack)]
        return following, [error for error in found if isinstance(error, BaseException)]

    async def _leave_together(self, leaving: Sequence[tuple[Settle | FallBack, Report]]) -> None:
        written = await self.visits.journal.ledger.report_all([report for _, report in leaving])
        for (decision, _), is_written in zip(leaving, written, strict=True):
            self.visits.left(decision, written=is_written)


async def side_by_side(ways: Iterable[Coroutine[Any, Any, Any]], raised: Sequence[BaseException] = ()) -> None:
    """Go every way to its end, and only then raise what was raised on one, or before."""
    ways = list(ways)
    if len(ways) == 1:  # nearly always in an even flow: it needs no task of its own
        found = [await _caught(ways[0])]
    else:
        found = await asyncio.gather(*ways, return_exceptions=True)
    if errors := [*raised, *(error for error in found if isinstance(error, BaseException))]:
        raise BaseExceptionGroup("work on one call", errors)


async def _caught(way: Coroutine[Any, Any, Any]) -> BaseException | None:
    try:
        await way
    except asyncio.CancelledError as error:
        if (task := asyncio.current_task()) and task.cancelling():
            raise
        return error
    except Exception as error:  # noqa: BLE001  # raised in a group
        return error
    return None
