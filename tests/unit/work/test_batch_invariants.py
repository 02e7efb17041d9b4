"""Shipments of one merchant over many tasks, with an API that acts late: none is booked twice, none stays open."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.celery_options import PATIENCE_S
from config.strategies.catalogue import AnyStrategy
from tasks.rules.outcome import BulkRefused, Finding, Outcome, Quoted
from tasks.work.ports import Account, Request
from tests.factories.batch_run import BatchRun, make_shipments
from tests.factories.memory_ledger import MemoryLedger
from tests.factories.merchant_files import SERVICE, V1_API, V2_API
from tests.factories.scenarios import TURNS, LateApi, Turn
from tests.factories.shipments import BULK_REFUSED, GROUP, NOW, PARTLY_REFUSED
from tests.factories.shipments import SERVICE as STEP
from tests.factories.virtual_clock import run_virtual

NAMES = "a b c d e"
RETRY = "[retry]\nquiet_seconds = 10\nqueue_seconds = 25\ndeadline_hours = 0.1\nattempts = 2\n"
QUIET_S, QUEUE_S = 10.0, 25.0
DEADLINE_S = 360.0
END_S = DEADLINE_S + 2 * QUEUE_S + 60
"""When the last shipment has ended: after its deadline, the longest open call, and a last read-back."""


@dataclass(kw_only=True)
class LateApis:
    """The API of all shipments: each has its own state, and each request has its turn."""

    turns: list[Turn]
    apis: dict[str, LateApi] = field(default_factory=lambda: defaultdict(LateApi))
    partly: set[str] = field(default_factory=set)
    """A bulk call that was refused as a whole: only the first one of v1 may act late, as an open call."""

    async def quote(self, account: Account, strategy: AnyStrategy, request: Request) -> Quoted | Outcome:
        """No step of these shipments needs a quote."""
        raise NotImplementedError

    async def allocate(
        self, account: Account, strategy: AnyStrategy, request: Request, _quote: str | None = None
    ) -> Mapping[str, Outcome]:
        """The turn's response, for each shipment by its state; a refusal of all concerns no single shipment."""
        turn, v1 = self._turn(), account.merchant.file.api.flavour == "consignments-v1"
        if isinstance(turn.response, BulkRefused):
            is_bulk = len(request.references) > 1
            turn = (
                Turn(response=PARTLY_REFUSED if v1 else BULK_REFUSED, acts=turn.acts, late=turn.late)
                if is_bulk
                else Turn()
            )
        start, longest_s = _now(), QUIET_S
        try:
            await asyncio.sleep(turn.duration_share * 20)
            longest_s = QUEUE_S if turn.response.reason == "queued" else QUIET_S
        finally:
            # The delay counts from the end of the call, which may be the shutdown of its process.
            outcomes = {name: self._call(name, str(strategy), turn, start, longest_s) for name in request.references}
        return outcomes

    def _call(self, name: str, strategy: str, turn: Turn, start: float, longest_s: float) -> Outcome:
        was_partly = f"{name} {strategy}" in self.partly
        if isinstance(turn.response, BulkRefused):
            self.partly.add(f"{name} {strategy}")
        return self.apis[name].call(turn, start, _now(), longest_s, was_partly=was_partly)

    async def read_back(self, _account: Account, request: Request) -> Finding:
        """The shipment's state, unless the turn has a read-back error."""
        (reference,) = request.references
        turn, found = self._turn(), self.apis[reference].read(_now())
        await asyncio.sleep(turn.duration_share * 20)
        return turn.read_back_error or found

    def _turn(self) -> Turn:
        return self.turns.pop(0) if self.turns else Turn()


def _now() -> float:
    return NOW + asyncio.get_running_loop().time()


@dataclass(kw_only=True)
class InterruptedRun(BatchRun):
    """Tasks whose process shuts down after some time, now and then."""

    end_after_s: list[float] = field(default_factory=list)

    async def run_to_completion(self) -> None:
        """Work to the end, or until the process shuts down and requeues its shipments."""
        if not self.end_after_s:
            return await super().run_to_completion()
        batch = await self.work()
        if self.running:
            await asyncio.wait([self.running], timeout=max(0.0, self.end_after_s.pop(0) - PATIENCE_S))
            self.running.cancel()
            await asyncio.wait([self.running])
            await batch.requeue()
        return None


@pytest.mark.parametrize("file", [V1_API, V2_API + "bulk = true\n", V2_API])
@settings(max_examples=60)
@given(turns=st.lists(TURNS, max_size=40), ends=st.lists(st.sampled_from([0.0, 3.0, 15.0]), max_size=3))
def test_none_is_booked_twice_and_all_end(file: str, turns: list[Turn], ends: list[float]) -> None:
    """Whatever happens, every shipment ends, and is booked at most once."""
    api, ledger = LateApis(turns=list(turns)), MemoryLedger()
    shipments = make_shipments(NAMES, STEP, GROUP)
    play_all: Any = {"shipments": shipments, "file": file + SERVICE + RETRY, "ledger": ledger, "api": api}
    run_virtual(InterruptedRun(**play_all, end_after_s=list(ends)).run_all_visits())
    for name in NAMES.split():
        assert api.apis[name].final_bookings() <= 1
        last = ledger.last(name)
        assert last.verdict in ("allocated", "failed")
        assert last.verdict == "failed" or api.apis[name].bookings == 1
        assert ledger.when(name) <= END_S
