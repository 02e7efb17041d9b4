"""Writes a shipment's history entries, and the report with which it leaves a task."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, assert_never

from tasks.events.shipment_allocated import allocated_event
from tasks.events.shipment_allocation_failed import failed_event
from tasks.rules.decision import Fail, FallBack, Park, Settle
from tasks.rules.next_decision import near_deadline
from tasks.rules.outcome import UNREADABLE_RESPONSE, WORDS, Allocated, Feedback, Finding, NotSent
from tasks.rules.quiet_time import quiet_end
from tasks.rules.shipment import Shipment, iso
from tasks.work.alerts import Alerts
from tasks.work.ports import Account, Claim, Ledger, Pause, Report, Verdict

Finish = Settle | FallBack | Park | Fail

Entry = dict[str, Any]
"""An entry of a shipment's history."""

_STEP_FIELDS = ("strategy", "outcome", "reason", "correlation_id")


def failed_steps(history: Sequence[Entry]) -> list[Entry]:
    """The calls of a history, as the failed event lists them."""
    return [{name: each.get(name) for name in _STEP_FIELDS} for each in history if each.get("action") == "allocate"]


def _is_repeated(purpose: str, shipment: Shipment, finding: Finding) -> bool:
    """Whether a request was an allocation call after an open call; unsent calls do not count."""
    return purpose == "allocate" and shipment.progress.open_kind is not None and not isinstance(finding, NotSent)


class CallRecord(NamedTuple):
    """The record of a request: history entry, feedback, and whether a slot must be returned."""

    entry: Entry
    feedback: Feedback
    slot: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Journal:
    """Writes for one task. `wake_after`: called with the seconds until a parked shipment is due."""

    account: Account
    claim: Claim
    ledger: Ledger
    alerts: Alerts
    wake_after: Callable[[float], None]

    def entry(
        self, purpose: Literal["allocate", "read", "quote"], shipment: Shipment, finding: Finding, took_s: float
    ) -> Entry:
        """The history entry of a request that took `took_s`; fields without a value are omitted."""
        entry: Entry = {
            "at": iso(self.ledger.now() - took_s),
            "action": purpose,
            "strategy": shipment.strategy.table,
            "outcome": WORDS[type(finding)],
        }
        if finding.reason is not None:
            entry["reason"] = finding.reason
        if not isinstance(finding, Allocated) and finding.message:
            entry["message"] = finding.message
        if finding.correlation_id is not None:
            entry["correlation_id"] = finding.correlation_id
        if _is_repeated(purpose, shipment, finding):
            entry["repeated"] = True
        entry["duration_ms"] = round(took_s * 1000)
        if finding.reason == UNREADABLE_RESPONSE:
            self.alerts.response_unreadable(shipment, entry.get("message", ""))
        return entry

    async def keep(self, shipment: Shipment, call_record: CallRecord) -> Shipment | None:
        """Record a request after which the visit continues; returns the updated shipment, None if no longer owned."""
        report = self._report(shipment, "keep", call_record)
        return report.shipment if await self.ledger.report(report) else None

    def leave(self, decision: Finish, call_record: CallRecord | None, *, slot: bool = False) -> Awaitable[bool]:
        """Write how a shipment leaves; resolves to False if this task no longer owns it.

        `call_record`: the record of the last request, if any. `slot`: a slot was taken and not used.
        """
        match decision:
            case Settle() | FallBack():
                return self.ledger.report(self.report_of(decision, call_record, slot=slot))
            case Park():
                return self._park(decision, call_record, slot=slot)
            case Fail():
                return self._fail(decision, call_record, slot=slot)
        assert_never(decision)

    def report_of(self, decision: Settle | FallBack, call_record: CallRecord | None, *, slot: bool = False) -> Report:
        """The report of a shipment that a response has settled or refused."""
        if isinstance(decision, FallBack):
            return self._report(decision.shipment, "hand", call_record, slot=slot)
        now = self.ledger.now()
        event = allocated_event(decision.shipment, decision.allocated, adopted=decision.adopted, now=now)
        # An earlier open call may still change the carrier: recheck it after the quiet time.
        recheck = now + self.account.merchant.file.retry.quiet_s if decision.shipment.progress.repeated_calls else 0.0
        report = self._report(decision.shipment, "allocated", call_record, event=event, due=recheck, slot=slot)
        return report._replace(adopted=decision.adopted, settled_s=now - decision.shipment.published)

    async def _park(self, decision: Park, call_record: CallRecord | None, *, slot: bool) -> bool:
        if decision.pause_merchant is not None:
            await self._pause_merchant(decision.shipment, decision.pause_merchant, call_record)
        # Without a wait, due by the server's own clock: it may be slightly behind this upper bound of it.
        due = self.ledger.now() + decision.wait_s if decision.wait_s else 0.0
        report = self._report(decision.shipment, "park", call_record, due=due, slot=slot)
        written = await self.ledger.report(self._with_waits(report))
        self.wake_after(decision.wait_s)
        return written

    def _with_waits(self, report: Report) -> Report:
        """The report of a parked shipment with what it waits for, for `allocation status`."""
        retry, shipment, now = self.account.merchant.file.retry, report.shipment, self.ledger.now()
        quiet_until, near = quiet_end(shipment.progress, retry), near_deadline(shipment, retry)
        return report._replace(
            quiet_until=quiet_until if quiet_until > now else 0.0,
            near_deadline=near if shipment.received and near <= max(now, report.due) else 0.0,
        )

    async def _pause_merchant(self, shipment: Shipment, why: str, call_record: CallRecord | None) -> None:
        name, digest = self.account.merchant.name, self.account.digest
        pause = Pause(why=why)
        if call_record:
            pause = pause._replace(
                purpose=call_record.feedback.purpose,
                retry_after_s=call_record.feedback.retry_after_s,
                refused=shipment.reference,
                strategy=str(shipment.strategy),
            )
        probe = shipment.reference if shipment.reference == self.claim.probe else ""
        if await self.ledger.pause(name, pause, digest, probe):
            self.alerts.paused(name, why)

    async def _fail(self, decision: Fail, call_record: CallRecord | None, *, slot: bool) -> bool:
        latest = [call_record.entry] if call_record else []
        steps = failed_steps([*await self.ledger.history(decision.shipment), *latest])
        replay, now = decision.shipment.replays, self.ledger.now()
        event = failed_event(decision.shipment, decision.reason, decision.message, steps, replay=replay, now=now)
        report = self._report(decision.shipment, "failed", call_record, event=event, reason=decision.reason, slot=slot)
        settled = report._replace(settled_s=now - decision.shipment.published)
        if written := await self.ledger.report(settled):
            self.alerts.failed(decision.shipment, decision.reason, decision.message)
        return written

    def _report(
        self,
        shipment: Shipment,
        verdict: Verdict,
        call_record: CallRecord | None,
        *,
        due: float = 0.0,
        event: str = "",
        reason: str = "",
        slot: bool = False,
    ) -> Report:
        progress = shipment.progress
        unreported = progress.repeated_calls - progress.repeated_calls_reported
        if unreported:
            self.alerts.call_repeated(shipment)
        if unreported or call_record:
            entries = progress.entries + (call_record is not None)
            shipment = shipment.with_progress(entries=entries, repeated_calls_reported=progress.repeated_calls)
        entry, feedback, recorded_slot = call_record or (None, None, False)
        slot = slot or recorded_slot
        lease_token, api = self.claim.lease_token, self.account.api
        return Report(shipment, lease_token, verdict, entry, due, event, reason, api, feedback, slot, unreported)
