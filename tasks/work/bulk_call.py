"""A bulk call: which shipments it carries, its outcomes, and the decision for each shipment."""

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


class _Result(NamedTuple):
    """The result for one shipment. `report`: if it leaves; `in_group`: the bulk call was refused as a whole."""

    decision: Decision
    call_record: CallRecord
    report: Report | None
    in_group: bool


class BulkResult(NamedTuple):
    """The shipments that stay in the batch: `alone`, or `in_group` to be split. `raised`: errors of the others."""

    alone: Sequence[Call | ReadBack] = ()
    in_group: Sequence[Call | ReadBack] = ()
    raised: Sequence[BaseException] = ()


@dataclass(kw_only=True, slots=True, eq=False)
class BulkCall:
    """One call; it counts once against the merchant's calls per second and takes one slot."""

    visits: Visits
    strategy: AnyStrategy
    shipments: Sequence[Shipment]

    async def make(self) -> BulkResult:
        """Call, and record the outcome for each shipment."""
        sent = await self._send()
        if sent is None:
            return BulkResult()
        results, raised = await self._decide(sent)
        following, more = await self._record(results)
        in_group = {result.decision.shipment.reference for result in results if result.in_group}
        return BulkResult(
            alone=[decision for decision in following if decision.shipment.reference not in in_group],
            in_group=[decision for decision in following if decision.shipment.reference in in_group],
            raised=[*raised, *more],
        )

    async def _send(self) -> Sent[Outcomes] | None:
        """The response; None if the call was not sent and all shipments have left."""
        requests, wait_s = self.visits.requests, WRITTEN_WITHIN_S
        for _ in range(MAX_PERMITS):
            requested_at, permit = await self._permits()
            if not permit.may_call:
                wait_s = permit.wait_s
                break
            await pause(permit.wait_s)
            if not requests.may_start(self.shipments):
                # The next claim decides for each what to do instead.
                wait_s = 0.0
                break
            sent = await requests.send(self.shipments, "allocate", self._allocate, requested_at, slot=permit.slot)
            if not sent.is_expired:
                return sent
        await self._delay({each.reference: wait_s for each in self.shipments})
        return None

    async def _allocate(self, request: Request) -> Outcomes:
        return await self.visits.api.allocate(self.visits.requests.account, self.strategy, request)

    async def _permits(self) -> tuple[float, Permit]:
        """When the permits were requested, and the first permit: it takes the slot and applies to the whole call."""
        requests, tries = self.visits.requests, 0
        if ready := requests.ready(self.shipments):
            return ready
        while self.shipments and tries < BUSY_TRIES:
            first = self.shipments[0]
            wanted = [requests.permit_request(each, "allocate", takes_slot=each is first) for each in self.shipments]
            requested_at, permits = boottime(), await self.visits.journal.ledger.permit_bulk(wanted)
            if permits[0].slot:
                requests.slots.add(first.reference)
            if permits[0].may_call:
                await self._postpone(permits)
            if permits[0].owned and not permits[0].busy:
                return requested_at, permits[0]
            if permits[0].busy:
                await pause(BUSY_WAIT_S * (1 + random.random()))  # noqa: S311  # jitter
                tries += 1
            else:
                self._release({first.reference})
        return 0.0, Permit(owned=True, wait_s=WRITTEN_WITHIN_S, park=True, by_limit=True)

    async def _postpone(self, permits: Sequence[Permit]) -> None:
        """Drop shipments that this task no longer owns or that may not call, although the first may."""
        if all(permit.may_call for permit in permits):
            return
        permitted = [(each.reference, permit) for each, permit in zip(self.shipments, permits, strict=True)]
        self._release({each for each, permit in permitted if not permit.owned})
        await self._delay({each: permit.wait_s for each, permit in permitted if permit.owned and not permit.may_call})

    def _release(self, references: Collection[str]) -> None:
        for each in self._without(references):
            self.visits.release(each)

    async def _delay(self, waits: Mapping[str, float]) -> None:
        context = self.visits.requests.context(tries=0)
        decisions = [held_up(each, context, waits[each.reference], by_limit=True) for each in self._without(waits)]
        await run_all(self.visits.leave(decision) for decision in decisions)

    def _without(self, references: Collection[str]) -> list[Shipment]:
        """Remove these shipments from the call; returns them."""
        leaving = [each for each in self.shipments if each.reference in references]
        if leaving:
            self.shipments = [each for each in self.shipments if each.reference not in references]
        return leaving

    async def _decide(self, sent: Sent[Outcomes]) -> tuple[list[_Result], list[Exception]]:
        """Decide for each shipment; an error for one does not affect the others."""
        results, raised, requests = [], [], self.visits.requests
        first = requests.feedback(sent.response[self.shipments[0].reference], "allocate")
        context = requests.context(requests.afforded(first, 1), sent.sent, group_size=len(self.shipments))
        for shipment in self.shipments:
            try:
                outcome = sent.response[shipment.reference]
                if isinstance(outcome, Stopped):
                    outcome = await self._in_group(shipment, outcome)
                results.append(self._result(shipment, outcome, sent, context))
            except Exception as error:  # noqa: BLE001  # raised after the other shipments
                raised.append(error)
        return results, raised

    def _result(self, shipment: Shipment, outcome: Outcome, sent: Sent[Outcomes], context: Context) -> _Result:
        visits, is_first = self.visits, shipment is self.shipments[0]
        feedback = visits.requests.feedback(sent.response[shipment.reference], "allocate")
        call_record = visits.call_record(shipment, outcome, feedback, sent.took_s, slot=sent.slot and is_first)
        decision = after_call(shipment, outcome, context)
        report = None
        if isinstance(decision, Settle | FallBack):
            report = visits.journal.report_of(decision, call_record)
        return _Result(
            decision=decision, call_record=call_record, report=report, in_group=isinstance(outcome, BulkRefused)
        )

    async def _in_group(self, shipment: Shipment, outcome: Stopped) -> Outcome:
        """Treat a 403 as a refused bulk call if the key got good responses since: any of its shipments may cause it."""
        denied_at = shipment.progress.denied_at
        if not denied_at or outcome.reason != "forbidden":
            return outcome
        last_good = await self.visits.journal.ledger.last_good(self.visits.requests.account.api, "allocate")
        if last_good <= denied_at or len(self.shipments) == 1:
            return outcome
        return BulkRefused(reason=outcome.reason, message=outcome.message, correlation_id=outcome.correlation_id)

    async def _record(self, results: Sequence[_Result]) -> tuple[list[Call | ReadBack], list[BaseException]]:
        """Report settled and refused shipments in one round trip; returns the decisions of the others, and errors."""
        staying, leaving = [], []
        for decision, call_record, report, _ in results:
            if report is not None and isinstance(decision, Settle | FallBack):
                leaving.append((decision, report))
            else:
                staying.append(self.visits.record(decision, call_record))
        found = await asyncio.gather(self._leave_all(leaving), *staying, return_exceptions=True)
        following = [decision for decision in found if isinstance(decision, Call | ReadBack)]
        return following, [error for error in found if isinstance(error, BaseException)]

    async def _leave_all(self, leaving: Sequence[tuple[Settle | FallBack, Report]]) -> None:
        written = await self.visits.journal.ledger.report_all([report for _, report in leaving])
        for (decision, _), is_written in zip(leaving, written, strict=True):
            self.visits.finish(decision, written=is_written)


async def run_all(jobs: Iterable[Coroutine[Any, Any, Any]], raised: Sequence[BaseException] = ()) -> None:
    """Run all jobs concurrently to their end; then raise their errors and those `raised` before."""
    jobs = list(jobs)
    if len(jobs) == 1:  # the common case under a steady load; needs no task of its own
        found = [await _caught(jobs[0])]
    else:
        found = await asyncio.gather(*jobs, return_exceptions=True)
    if errors := [*raised, *(error for error in found if isinstance(error, BaseException))]:
        raise BaseExceptionGroup("errors in concurrent work on shipments", errors)


async def _caught(job: Coroutine[Any, Any, Any]) -> BaseException | None:
    try:
        await job
    except asyncio.CancelledError as error:
        if (task := asyncio.current_task()) and task.cancelling():
            raise
        return error
    except Exception as error:  # noqa: BLE001  # raised in an exception group
        return error
    return None
