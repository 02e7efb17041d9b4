"""How shipments left a child, counted for the results of tasks."""

import asyncio
from collections import Counter

from tasks.work.batch import Batch
from tasks.work.messages import FINISHES, IN_PROGRESS, MERCHANTS

Left = Counter[tuple[str, str]]
"""Numbers of shipments by merchant and by how they left."""


class Tally:
    """Counts the shipments of the claim loop, or of one link; used in the child's event loop only."""

    def __init__(self) -> None:
        """Nothing has left yet."""
        self._left = Left()
        self._working: dict[asyncio.Task[None], Batch] = {}

    def add(self, merchant: str, finish: str, shipments: int = 1) -> None:
        """Some shipments of a merchant left. `finish`: one of `FINISHES`."""
        self._left[merchant, finish] += shipments

    def follow(self, work: "asyncio.Task[None]", batch: Batch) -> None:
        """Count the shipments that a batch owns as in progress until it ends."""
        self._working[work] = batch
        work.add_done_callback(self._working.pop)

    def left(self) -> Left:
        """What has left until now, for `result`."""
        return self._left.copy()

    def result(self, before: Left) -> dict[str, int]:
        """The counts of a task result: what left since `before`, and what is in progress now."""
        left, finishes = self._left - before, Counter[str]()
        for (_, finish), shipments in left.items():
            finishes[finish] += shipments
        working = [batch for batch in self._working.values() if batch.owned]
        merchants = {merchant for merchant, _ in left} | {batch.claim.merchant for batch in working}
        return {
            **{finish: finishes[finish] for finish in FINISHES if finishes[finish]},
            IN_PROGRESS: sum(len(batch.owned) for batch in working),
            MERCHANTS: len(merchants),
        }
