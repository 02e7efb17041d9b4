"""What is written of a shipment: the entry in its story, and the report of the move that ends its stay with a task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, assert_never

from tasks.events import allocated_event, failed_event
from tasks.move import Fail, FallBack, Park, Settle
from tasks.outcome import WORDS, Finding, Health
from tasks.ports import Account, Ledger, Report, Taken, Telemetry, Verdict
from tasks.shipment import Shipment, iso

Leave = Settle | FallBack | Park | Fail

Entry = dict[str, Any]
"""A line of a shipment's story."""

_OF_A_STEP = ("strategy", "outcome", "reason", "correlation_id")


class End(NamedTuple):
    """How a shipment leaves a task: the move, and of the call before it the entry and how the API did."""

    move: Leave
    entry: Entry | None = None
    answer: Health | Literal[""] = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Writer:
    """Writes for one task. `wake_in` is told in how many seconds something parked comes due."""

    account: Account
    taken: Taken
    ledger: Ledger
    telemetry: Telemetry
    wake_in: Callable[[float], None]

    def entry(self, do: Literal["allocate", "read"], shipment: Shipment, finding: Finding, took_s: float) -> Entry:
        """The entry for a call that took so long; what was not said is left out."""
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

    async def keep(self, shipment: Shipment, entry: Entry, answer: Health) -> Shipment | None:
        """Write a call after which the task goes on; returns the shipment as noted, None when it is not ours."""
        report = self._report(shipment, "keep", entry, answer)
        return report.shipment if await self.ledger.report(report) else None

    async def leave(self, end: End) -> bool:
        """Write how a shipment leaves; False when this task does not hold it any more."""
        move = end.move
        match move:
            case Settle() | FallBack():
                return await self.ledger.report(self.report_of(move, end))
            case Park():
                return await self._park(move, end)
            case Fail():
                return await self._fail(move, end)
        assert_never(move)

    def report_of(self, move: Settle | FallBack, end: End) -> Report:
        """What `leave` reports of a shipment that an answer has settled or refused."""
        if isinstance(move, FallBack):
            return self._report(move.shipment, "hand", end.entry, end.answer)
        event = allocated_event(move.shipment, move.allocated, adopted=move.adopted, now=self.ledger.now())
        return self._report(move.shipment, "allocated", end.entry, end.answer, event=event)

    async def _park(self, move: Park, end: End) -> bool:
        if move.pause_merchant is not None:
            name, digest = self.account.merchant.name, self.account.digest
            if await self.ledger.pause(name, move.pause_merchant, digest):
                self.telemetry.paused(name, move.pause_merchant)
        due = self.ledger.now() + move.wait_s
        written = await self.ledger.report(self._report(move.shipment, "park", end.entry, end.answer, due=due))
        self.wake_in(move.wait_s)
        return written

    async def _fail(self, move: Fail, end: End) -> bool:
        story = [*await self.ledger.story(move.shipment), *([end.entry] if end.entry else [])]
        steps = [{name: e.get(name) for name in _OF_A_STEP} for e in story if e.get("do") == "allocate"]
        replay, now = move.shipment.replays, self.ledger.now()
        event = failed_event(move.shipment, move.reason, move.message, steps, replay=replay, now=now)
        report = self._report(move.shipment, "failed", end.entry, end.answer, event=event, reason=move.reason)
        if written := await self.ledger.report(report):
            self.telemetry.failed(move.shipment, move.reason, move.message)
        return written

    def _report(
        self,
        shipment: Shipment,
        verdict: Verdict,
        entry: Entry | None,
        answer: Health | Literal[""],
        *,
        due: float = 0.0,
        event: str = "",
        reason: str = "",
    ) -> Report:
        noted = shipment if entry is None else shipment.with_progress(entries=shipment.progress.entries + 1)
        return Report(
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
