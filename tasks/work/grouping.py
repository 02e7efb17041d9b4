"""Groups shipments for bulk calls: reads them back concurrently, calls for them together, splits a refused call."""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from config.strategies.catalogue import AnyStrategy
from tasks.rules.before_call import held_up
from tasks.rules.decision import Call, ReadBack
from tasks.rules.portions import portions
from tasks.work.bulk_call import BulkCall, run_all
from tasks.work.requests import pause
from tasks.work.visit import MARGIN_S, Visits

READ_TOGETHER_S = 5.0
"""How long a bulk call waits for the read-backs of its shipments; slower shipments are called for alone."""

SPLIT_WAIT_S = 2.0
"""Wait of a refused bulk call while another one of the same merchant and step is being split."""


@dataclass(kw_only=True, slots=True, eq=False)
class BulkGroups:
    """The bulk calls of one batch."""

    visits: Visits
    splitting: set[AnyStrategy] = field(default_factory=set)

    async def work(self, decisions: Sequence[Call | ReadBack], max_per_call: int, *, inner: bool = False) -> None:
        """Read back shipments that need it, then call for all that may be called for, in as few calls as possible.

        `inner`: as part of a split.
        """
        calls: list[Call] = []
        reads: list[Call | ReadBack] = []
        for decision in decisions:
            if isinstance(decision, Call) and not self.visits.requests.is_stale(decision.shipment, MARGIN_S):
                calls.append(decision)
            else:
                reads.append(decision)
        jobs = []
        for task in await self._read_all(reads):
            if task.done() and not task.exception() and isinstance(following := task.result(), Call):
                calls.append(following)
            else:
                jobs.append(self._follow_late(task))
        jobs += [self._call_for_all(portion, inner=inner) for portion in portions(calls, max_per_call)]
        await run_all(jobs)

    async def _read_all(self, decisions: Sequence[Call | ReadBack]) -> "list[asyncio.Task[Call | ReadBack | None]]":
        """Read back concurrently; returns after `READ_TOGETHER_S`, with slower read-backs still running."""
        reading = [asyncio.create_task(self._read_once(decision)) for decision in decisions]
        try:
            if reading:
                await asyncio.wait(reading, timeout=READ_TOGETHER_S)
        except BaseException:
            for task in reading:
                task.cancel()
            raise
        return reading

    async def _read_once(self, decision: Call | ReadBack) -> Call | ReadBack | None:
        await pause(decision.pause_s)
        async with self.visits.limiter:
            next_step = await self.visits.read(decision.shipment, tries=0)
            if next_step is not None:
                return await self.visits.record(*next_step)
        self.visits.release(decision.shipment)
        return None

    async def _follow_late(self, reading: "asyncio.Task[Call | ReadBack | None]") -> None:
        following = await reading
        if following is not None:
            await self.visits.follow(following, tries=1)

    async def _call_for_all(self, calls: Sequence[Call], *, inner: bool) -> None:
        """Make one bulk call and follow each shipment; a refused call is split."""
        if len(calls) == 1:
            return await self.visits.follow(calls[0])
        shipments = [call.shipment for call in calls]
        async with self.visits.limiter:
            result = await BulkCall(visits=self.visits, strategy=shipments[0].strategy, shipments=shipments).make()
        split = self._split(result.in_group) if inner else self.split(result.in_group)
        return await run_all(
            [split, *(self.visits.follow(decision, tries=1) for decision in result.alone)], result.raised
        )

    async def split(self, decisions: Sequence[Call | ReadBack]) -> None:
        """Call again for the shipments of a refused bulk call, half as many per call; one split at a time per step."""
        if not decisions:
            return None
        first, journal = decisions[0].shipment, self.visits.journal
        merchant, strategy, task = first.merchant, first.strategy, journal.claim.lease_token
        if strategy in self.splitting:
            return await self._wait(decisions)
        self.splitting.add(strategy)
        try:
            if not await journal.ledger.split(merchant, str(strategy), task):
                return await self._wait(decisions)
            try:
                await self._split(decisions)
            finally:
                await journal.ledger.split_over(merchant, str(strategy), task)
        finally:
            self.splitting.discard(strategy)

    async def _split(self, decisions: Sequence[Call | ReadBack]) -> None:
        by_size: dict[int, list[Call | ReadBack]] = defaultdict(list)
        for decision in decisions:
            by_size[decision.shipment.progress.group_size or 1].append(decision)
        parts = [portion for size, group in by_size.items() for portion in portions(group, size)]
        await run_in_sequence(self.work(part, len(part), inner=True) for part in parts)

    async def _wait(self, decisions: Sequence[Call | ReadBack]) -> None:
        context = self.visits.requests.context(tries=0)
        waiting = [held_up(decision.shipment, context, SPLIT_WAIT_S, by_limit=True) for decision in decisions]
        await run_all(self.visits.leave(decision) for decision in waiting)


async def run_in_sequence(jobs: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """Run the jobs one after another, all of them; then raise their errors."""
    raised: list[BaseException] = []
    for job in jobs:
        raised += [error for error in await asyncio.gather(job, return_exceptions=True) if error is not None]
    if raised:
        raise BaseExceptionGroup("errors in sequential work on shipments", raised)
