"""What is written of a shipment: the entry in its story, and the report of the move that ends its stay with a task."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, assert_never

from tasks.events.settled import allocated_event, failed_event
from tasks.rules.decision import Fail, FallBack, Park, Settle
from tasks.rules.outcome import UNREADABLE_ANSWER, WORDS, Allocated, Finding, Heard, NotSent
from tasks.rules.shipment import Shipment, iso
from tasks.work.alerts import Telemetry
from tasks.work.ports import Account, Ledger, Paused, Report, Taken, Verdict

Leave = Settle | FallBack | Park | Fail

Entry = dict[str, Any]
"""A line of a shipment's story."""

_OF_A_STEP = ("strategy", "outcome", "reason", "correlation_id")


def _asked_again(do: str, shipment: Shipment, finding: Finding) -> bool:
    """Whether a request was a call for an allocation after an open one; one that was not sent is none."""
    return do == "allocate" and shipment.progress.open_kind is not None and not isinstance(finding, NotSent)


class Answered(NamedTuple):
    """What a request left behind: the entry, how the API did, and whether there is a place to give back."""

    entry: Entry
    heard: Heard
    place: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Writer:
    """Writes for one task. `wake_in` is told in how many seconds something parked comes due."""

    account: Account
    taken: Taken
    ledger: Ledger
    telemetry: Telemetry
    wake_in: Callable[[float], None]

    def entry(
        self, do: Literal["allocate", "read", "quote"], shipment: Shipment, finding: Finding, took_s: float
    ) -> Entry:
        """The entry for a request that took so long; what was not said is left out."""
        entry: Entry = {
            "at": iso(self.ledger.now() - took_s),
            "do": do,
            "strategy": shipment.strategy.table,
            "outcome": WORDS[type(finding)],
        }
        if finding.reason is not None:
            entry["reason"] = finding.reason
        if not isinstance(finding, Allocated) and finding.message:
            entry["message"] = finding.message
        if finding.correlation_id is not None:
            entry["correlation_id"] = finding.correlation_id
        if _asked_again(do, shipment, finding):
            entry["again"] = True
        entry["ms"] = round(took_s * 1000)
        if finding.reason == UNREADABLE_ANSWER:
            self.telemetry.answer_unreadable(shipment, entry.get("message", ""))
        return entry

    async def keep(self, shipment: Shipment, answered: Answered) -> Shipment | None:
        """Write a request after which the task goes on; returns the shipment as noted, None when it is not ours."""
        report = self._report(shipment, "keep", answered)
        return report.shipment if await self.ledger.report(report) else None

    def leave(self, move: Leave, answered: Answered | None, *, place: bool = False) -> Awaitable[bool]:
        """Write how a shipment leaves; false when this task does not hold it any more.

        `answered`: what the request before it left behind. `place`: a permit was had, and not used.
        """
        match move:
            case Settle() | FallBack():
                return self.ledger.report(self.report_of(move, answered, place=place))
            case Park():
                return self._park(move, answered, place=place)
            case Fail():
                return self._fail(move, answered, place=place)
        assert_never(move)

    def report_of(self, move: Settle | FallBack, answered: Answered | None, *, place: bool = False) -> Report:
        """What `leave` reports of a shipment that an answer has settled or refused."""
        if isinstance(move, FallBack):
            return self._report(move.shipment, "hand", answered, place=place)
        now = self.ledger.now()
        event = allocated_event(move.shipment, move.allocated, adopted=move.adopted, now=now)
        # The open call may still change who has it: the carrier is looked at once more when that would have happened.
        recheck = now + self.account.merchant.file.retry.quiet_s if move.shipment.progress.asked_again else 0.0
        return self._report(move.shipment, "allocated", answered, event=event, due=recheck, place=place)

    async def _park(self, move: Park, answered: Answered | None, *, place: bool) -> bool:
        if move.pause_merchant is not None:
            await self._pause_merchant(move.shipment, move.pause_merchant, answered)
        # What waits for nothing is due by the server's own clock, which may be a little behind what we know of it.
        due = self.ledger.now() + move.wait_s if move.wait_s else 0.0
        written = await self.ledger.report(self._report(move.shipment, "park", answered, due=due, place=place))
        self.wake_in(move.wait_s)
        return written

    async def _pause_merchant(self, shipment: Shipment, why: str, answered: Answered | None) -> None:
        name, digest = self.account.merchant.name, self.account.digest
        pause = Paused(why=why)
        if answered:
            pause = pause._replace(
                purpose=answered.heard.purpose,
                retry_after_s=answered.heard.retry_after_s,
                refused=shipment.reference,
                asks=str(shipment.strategy),
            )
        probe = shipment.reference if shipment.reference == self.taken.probe else ""
        if await self.ledger.pause(name, pause, digest, probe):
            self.telemetry.paused(name, why)

    async def _fail(self, move: Fail, answered: Answered | None, *, place: bool) -> bool:
        told = [answered.entry] if answered else []
        story = [*await self.ledger.story(move.shipment), *told]
        steps = [{name: e.get(name) for name in _OF_A_STEP} for e in story if e.get("do") == "allocate"]
        replay, now = move.shipment.replays, self.ledger.now()
        event = failed_event(move.shipment, move.reason, move.message, steps, replay=replay, now=now)
        report = self._report(move.shipment, "failed", answered, event=event, reason=move.reason, place=place)
        if written := await self.ledger.report(report):
            self.telemetry.failed(move.shipment, move.reason, move.message)
        return written

    def _report(
        self,
        shipment: Shipment,
        verdict: Verdict,
        answered: Answered | None,
        *,
        due: float = 0.0,
        event: str = "",
        reason: str = "",
        place: bool = False,
    ) -> Report:
        progress = shipment.progress
        untold = progress.asked_again - progress.asked_again_told
        if untold:
            self.telemetry.asked_again(shipment)
        if untold or answered:
            entries = progress.entries + (answered is not None)
            shipment = shipment.with_progress(entries=entries, asked_again_told=progress.asked_again)
        entry, heard, answered_place = answered or (None, None, False)
        place = place or answered_place
        task, api = self.taken.task, self.account.api
        return Report(shipment, task, verdict, entry, due, event, reason, api, heard, place, untold)
