"""A shipment's visit: repeats request, decision and record until the decision makes it leave the task."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

from tasks.rules.after_call import after_call, after_quotes
from tasks.rules.after_read_back import after_read_back
from tasks.rules.before_call import held_up
from tasks.rules.decision import REQUESTS, Call, Decision, Fail, FallBack, Park, ReadBack, Settle
from tasks.rules.denial import ALONE_WITHIN_S, accepts_key, own_denial
from tasks.rules.outcome import Feedback, Finding, Outcome, Purpose, Quoted, Refused, Stopped
from tasks.rules.shipment import Shipment, stopped_call
from tasks.work.alerts import Alerts
from tasks.work.api import Api
from tasks.work.journal import CallRecord, Finish, Journal
from tasks.work.ports import Permit
from tasks.work.requests import Requests, Sent, pause

NextStep = tuple[Decision, CallRecord | None]
"""The next decision, and the record of the request before it (None: no request was made)."""

_FINISH_NAMES: dict[type[Finish], str] = {Settle: "allocated", FallBack: "fell_back", Park: "parked", Fail: "failed"}

MARGIN_S = 1.0
"""A call is requested at least this long before the read-back that allows it becomes too old."""


@dataclass(kw_only=True, slots=True, eq=False)
class Visits:
    """The visits of one batch: their shared state."""

    requests: Requests
    api: Api
    journal: Journal
    alerts: Alerts
    owned: dict[str, Shipment]
    on_finish: Callable[[str], None]
    """Called with how a shipment left: one of `tasks.work.messages.FINISHES`."""
    fell_back: Callable[[Shipment], None]
    quotes: dict[str, str] = field(default_factory=dict)
    """Quotes not used yet, by shipment."""
    limiter: contextlib.AbstractAsyncContextManager[Any] = field(default_factory=contextlib.nullcontext)
    """Limits the concurrent requests of this batch to the merchant's calls in flight."""

    async def follow(self, decision: Decision, tries: int = 0) -> None:
        """Carry out the decisions for one shipment until it leaves this task."""
        while isinstance(decision, REQUESTS):
            if decision.pause_s:
                await pause(decision.pause_s)
            async with self.limiter:
                next_step = await self._request(decision, tries)
                if next_step is None:
                    return self.release(decision.shipment)
                following = await self.record(*next_step)
            if following is None:
                return None
            decision, tries = following, tries + 1
        return await self.leave(decision)

    def _request(self, decision: Call | ReadBack, tries: int) -> Awaitable[NextStep | None]:
        """Make a request; returns the next step, None if the shipment is no longer owned."""
        shipment = decision.shipment
        if isinstance(decision, ReadBack) or self.requests.is_stale(shipment, MARGIN_S):
            return self.read(shipment, tries)
        return self._call(shipment, tries)

    async def read(self, shipment: Shipment, tries: int) -> NextStep | None:
        """Read a shipment back."""
        account = self.requests.account
        sent = await self.requests.send_one(shipment, "read", lambda request: self.api.read_back(account, request))
        if isinstance(sent, Permit):
            return self.postpone(shipment, sent)
        self.requests.admitted.add(shipment.reference)
        return await self._next_step(shipment, sent, sent.response, "read", tries)

    async def _call(self, shipment: Shipment, tries: int) -> NextStep | None:
        """Call for the current step, with a quote if it needs one."""
        account, strategy = self.requests.account, shipment.strategy
        flavour = account.merchant.file.api.flavour
        if unsupported_reason := strategy.unsupported_reason(flavour):
            return self._unsupported(shipment, unsupported_reason)
        quote = self.quotes.pop(shipment.reference, None)
        if quote is None and flavour in strategy.needs_quote:
            return await self._request_quotes(shipment, tries)
        sent = await self.requests.send_one(
            shipment, "allocate", lambda r: self.api.allocate(account, strategy, r, quote)
        )
        if isinstance(sent, Permit):
            return self.postpone(shipment, sent)
        return await self._next_step(shipment, sent, sent.response[shipment.reference], "allocate", tries)

    async def _request_quotes(self, shipment: Shipment, tries: int) -> NextStep | None:
        """Request quotes and call with the best; reads back in between if the last read-back has become too old."""
        account, strategy = self.requests.account, shipment.strategy
        sent = await self.requests.send_one(shipment, "quote", lambda r: self.api.quote(account, strategy, r))
        if isinstance(sent, Permit):
            return self.postpone(shipment, sent)
        if not isinstance(sent.response, Quoted):
            return await self._without_quote(shipment, sent.response, sent, tries)
        if shipment.reference == self.journal.claim.probe:
            await self._lift_pause(Feedback(signal="good", purpose="quote"), sent.response)
        self.quotes[shipment.reference] = sent.response.reference
        return await self._request(Call(shipment=shipment), tries)

    def _unsupported(self, shipment: Shipment, unsupported_reason: str) -> NextStep:
        """Refuse a step that the API generation does not support, as the merchant's API has changed since the plan."""
        outcome = Refused(reason="strategy_unfit", message=unsupported_reason)
        entry = self.journal.entry("allocate", shipment, outcome, 0.0)
        feedback = Feedback(signal="", purpose="allocate")
        return after_call(shipment, outcome, self.requests.context(0)), CallRecord(entry=entry, feedback=feedback)

    async def _without_quote(self, shipment: Shipment, outcome: Outcome, sent: Sent[Any], tries: int) -> NextStep:
        feedback = self.requests.feedback(outcome, "quote")
        outcome = cast(Outcome, await self._attribute_denial(shipment, outcome, "quote", of_step=True))
        context = self.requests.context(self.requests.afforded(feedback, tries + 1))
        entry = self.journal.entry("quote", shipment, outcome, sent.took_s)
        return after_quotes(shipment, outcome, context), CallRecord(entry=entry, feedback=feedback, slot=sent.slot)

    async def _next_step(
        self, shipment: Shipment, sent: Sent[Any], finding: Finding, purpose: Purpose, tries: int
    ) -> NextStep:
        """The next step after a response."""
        feedback = self.requests.feedback(finding, purpose)
        if feedback.signal == "denied":
            finding = await self._attribute_denial(shipment, finding, purpose, of_step=purpose == "allocate")
        call_record = self.call_record(shipment, finding, feedback, sent.took_s, slot=sent.slot)
        context = self.requests.context(self.requests.afforded(feedback, tries + 1), sent.sent)
        if shipment.reference == self.journal.claim.probe:
            await self._lift_pause(feedback, finding)
        if purpose == "read":
            return after_read_back(shipment, finding, context), call_record
        return after_call(shipment, cast(Outcome, finding), context), call_record

    async def _attribute_denial(
        self, shipment: Shipment, finding: Finding, purpose: Purpose, *, of_step: bool
    ) -> Finding:
        """Attribute a 403 to the shipment, not the key, if other shipments get good responses."""
        if not isinstance(finding, Stopped) or finding.reason != "forbidden":
            return finding
        ledger, api = self.journal.ledger, self.requests.account.api
        last_good = await ledger.last_good(api, purpose)
        if shipment.progress.denied_at:
            return own_denial(shipment, finding, last_good, of_step=of_step)
        if ledger.now() - last_good > ALONE_WITHIN_S or not await ledger.first_denial(api, shipment.reference):
            return finding
        return replace(finding, reason="forbidden_here")

    def call_record(
        self, shipment: Shipment, finding: Finding, feedback: Feedback, took_s: float, *, slot: bool
    ) -> CallRecord:
        """The record of a request."""
        entry = self.journal.entry(feedback.purpose, shipment, finding, took_s)
        return CallRecord(entry=entry, feedback=feedback, slot=slot)

    async def _lift_pause(self, feedback: Feedback, finding: Finding | Quoted) -> None:
        """Lift the pause if the response shows that the key works, even if this shipment alone was refused."""
        paused, merchant = self.journal.claim.paused, self.requests.account.merchant.name
        if paused and feedback.purpose == paused.purpose and accepts_key(feedback, finding):
            self.alerts.resumed(merchant, await self.journal.ledger.resume(merchant))

    def postpone(self, shipment: Shipment, permit: Permit) -> NextStep | None:
        """The next step of a shipment whose request may not be sent now; None if it is no longer owned."""
        if not permit.owned:
            return None
        return held_up(shipment, self.requests.context(tries=0), permit.wait_s, by_limit=permit.by_limit), None

    async def record(self, decision: Decision, call_record: CallRecord | None) -> Call | ReadBack | None:
        """Record a request and its decision; returns the decision if the visit continues, else None."""
        if not isinstance(decision, REQUESTS):
            await self.leave(decision, call_record)
            return None
        if call_record is None:
            return decision
        recorded = await self.journal.keep(decision.shipment, call_record)
        if recorded is None:
            self.release(decision.shipment)
            return None
        self.owned[recorded.reference] = recorded
        self.requests.complete(recorded)
        return replace(decision, shipment=recorded)

    async def leave(self, decision: Finish, call_record: CallRecord | None = None) -> None:
        """Write how a shipment leaves, and the record of its last request."""
        slot = call_record is None and decision.shipment.reference in self.requests.slots
        self.finish(decision, written=await self.journal.leave(decision, call_record, slot=slot))

    def finish(self, decision: Finish, *, written: bool) -> None:
        """Release a shipment that has left, count it, and pass it on if it fell back."""
        self.release(decision.shipment)
        if not written:
            return
        self.on_finish(_FINISH_NAMES[type(decision)])
        if isinstance(decision, FallBack):
            self.fell_back(decision.shipment)

    def release(self, shipment: Shipment) -> None:
        """Forget a shipment that this task no longer owns."""
        self.owned.pop(shipment.reference, None)
        self.requests.complete(shipment)

    async def requeue(self, shipment: Shipment, wait_s: float = 0.0) -> None:
        """Requeue a shipment, due in `wait_s` seconds; a call in flight counts as open from now on."""
        if shipment.reference in self.requests.calling:
            shipment = stopped_call(shipment, self.journal.ledger.now())
        await self.leave(Park(shipment=shipment, wait_s=wait_s))
