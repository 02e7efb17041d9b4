"""The common calls of one task's shipments: read back side by side, called for together, split when that is refused."""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from config.strategies.catalogue import AnyStrategy
from tasks.rules.before_call import held_up
from tasks.rules.decision import Call, ReadBack
from tasks.rules.portions import portions
from tasks.work.bulk_call import BulkCall, side_by_side
from tasks.work.requests import pause
from tasks.work.visit import MARGIN_S, Visits

READ_TOGETHER_S = 5.0
"""How long the shipments of a common call are read back side by side; who takes longer goes on alone."""

SPLIT_WAIT_S = 2.0
"""How long a refused call waits while another one of the same merchant and step is being split."""


@dataclass(kw_only=True, slots=True, eq=False)
class BulkGroups:
    """The common calls of one task's shipments."""

    visits: Visits
    splitting: set[AnyStrategy] = field(default_factory=set)

    async def work(self, decisions: Sequence[Call | ReadBack], most: int, *, inner: bool = False) -> None:
        """Read back side by side who must be, then call for all that may be called for, by as few calls as can be.

        `inner`: as a part of a split.
        """
        calls: list[Call] = []
        reads: list[Call | ReadBack] = []
        for decision in decisions:
            if isinstance(decision, Call) and not self.visits.requests.is_stale(decision.shipment, MARGIN_S):
                calls.append(decision)
            else:
                reads.append(decision)
        ways = []
        for task in await self._read_together(reads):
            if task.done() and not task.exception() and isinstance(following := task.result(), Call):
                calls.append(following)
            else:
                ways.append(self._go_on(task))
        ways += [self._call_for_all(some, inner=inner) for some in portions(calls, most)]
        await side_by_side(ways)

    async def _read_together(
        self, decisions: Sequence[Call | ReadBack]
    ) -> "list[asyncio.Task[Call | ReadBack | None]]":
        """Read back side by side; those that take long are not waited for."""
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
        async with self.visits.turns:
            asked = await self.visits.read(decision.shipment, tries=0)
            if asked is not None:
                return await self.visits.record(*asked)
        self.visits.release(decision.shipment)
        return None

    async def _go_on(self, reading: "asyncio.Task[Call | ReadBack | None]") -> None:
        following = await reading
        if following is not None:
            await self.visits.follow(following, tries=1)

    async def _call_for_all(self, calls: Sequence[Call], *, inner: bool) -> None:
        """One call for all of them, and what follows for each; a split takes its turn after that."""
        if len(calls) == 1:
            return await self.visits.follow(calls[0])
        shipments = [call.shipment for call in calls]
        async with self.visits.turns:
            found = await BulkCall(visits=self.visits, strategy=shipments[0].strategy, shipments=shipments).make()
        again = self._split(found.in_group) if inner else self.split(found.in_group)
        return await side_by_side(
            [again, *(self.visits.follow(decision, tries=1) for decision in found.alone)], found.raised
        )

    async def split(self, decisions: Sequence[Call | ReadBack]) -> None:
        """Ask again for shipments that were refused together, with half as many in a call; one split at a time."""
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
        alike: dict[int, list[Call | ReadBack]] = defaultdict(list)
        for decision in decisions:
            alike[decision.shipment.progress.group_size or 1].append(decision)
        parts = [some for most, each in alike.items() for some in portions(each, most)]
        await in_turn(self.work(some, len(some), inner=True) for some in parts)

    async def _wait(self, decisions: Sequence[Call | ReadBack]) -> None:
        context = self.visits.requests.context(tries=0)
        waiting = [held_up(decision.shipment, context, SPLIT_WAIT_S, by_limit=True) for decision in decisions]
        await side_by_side(self.visits.leave(decision) for decision in waiting)


async def in_turn(ways: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """Go one way after the other, each to its end, and only then raise what was raised on one."""
    raised: list[BaseException] = []
    for way in ways:
        raised += [error for error in await asyncio.gather(way, return_exceptions=True) if error is not None]
    if raised:
        raise BaseExceptionGroup("work on one call after the other", raised)
