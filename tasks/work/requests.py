"""Requests to the API: admitted by the ledger, sent within a second of that, and judged."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar, get_args

from tasks.rules.backoff import SHORT_TRIES, RetryBudget
from tasks.rules.decision import Context
from tasks.rules.next_decision import has_time_to_call
from tasks.rules.outcome import PERMIT_EXPIRED, Allocated, Feedback, Finding, NotSent, Purpose, signal_of
from tasks.rules.shipment import Shipment
from tasks.work.clock import boottime
from tasks.work.ports import Account, Claim, Ledger, Permit, PermitRequest, Request

WRITTEN_WITHIN_S = 1.0
"""A request is written within so many seconds of asking for its permit, or not at all."""

MAX_PERMITS = 5
"""Permits that may expire before it is given up for now."""

BUSY_WAIT_S, BUSY_TRIES = 0.1, 50
"""How long, and how often, a request waits for one of the merchant's places in flight."""

PERMITTED = Permit(owned=True)

_GOOD: dict[Purpose, Feedback] = {each: Feedback(signal="good", purpose=each) for each in get_args(Purpose)}

AnswerT = TypeVar("AnswerT")


class Sent(NamedTuple, Generic[AnswerT]):
    """An answer, when its request was sent, how long it took, and whether a place must be given back.

    `is_expired`: the request was not written in time, so that nothing was sent.
    """

    answer: AnswerT
    sent: float
    took_s: float
    slot: bool
    is_expired: bool


@dataclass(kw_only=True, slots=True, eq=False)
class Requests:
    """The requests of one task's shipments."""

    account: Account
    lease_token: str
    ledger: Ledger
    budget: RetryBudget
    out: set[str] = field(default_factory=set)
    """The shipments with a call for an allocation on its way."""
    slots: set[str] = field(default_factory=set)
    """The shipments that have a place, or a probe, which was not given back yet."""
    admitted: set[str] = field(default_factory=set)
    """The shipments whose last request was a read-back: a call that follows directly is admitted with it."""
    ahead: dict[str, tuple[float, Permit]] = field(default_factory=dict)
    """The permits of calls that start together, and when they were asked for, by shipment."""

    def admit(self, claim: Claim) -> None:
        """The first calls that were permitted as their shipments were taken, if the API is up and has no limits."""
        limits, api = self.account.merchant.file.limits, self.account.api
        if claim.permitted and not (limits.in_flight or limits.per_second or stops(api) & claim.stopped):
            self.ahead = dict.fromkeys(claim.permitted, (claim.asked_at, PERMITTED))

    async def ask_ahead(self, shipments: Sequence[Shipment]) -> None:
        """Ask for the permits of several first calls, each for one shipment, in one round trip."""
        wanted = [self.request(each, "allocate") for each in shipments if each.reference not in self.ahead]
        if not wanted:
            return
        shipments = [each.shipment for each in wanted]
        asked_at, permits = boottime(), await self.ledger.permit_all(wanted)
        for shipment, permit in zip(shipments, permits, strict=True):
            if permit.slot:
                self.slots.add(shipment.reference)
            if not permit.busy:
                self.ahead[shipment.reference] = asked_at, permit

    def ready(self, shipments: Sequence[Shipment]) -> tuple[float, Permit] | None:
        """The permit of a first call for all of these, and when it was asked for; None if one of them has none."""
        found = [self.ahead.pop(each.reference, None) for each in shipments]
        asked_at = [each[0] for each in found if each is not None]
        return (min(asked_at), PERMITTED) if len(asked_at) == len(found) else None

    async def ask(
        self, shipment: Shipment, purpose: Purpose, send: Callable[[Request], Awaitable[AnswerT]]
    ) -> Sent[AnswerT] | Permit:
        """Send one request for one shipment; returns the permit instead if it may not be sent."""
        for _ in range(MAX_PERMITS):
            ready = self.ahead.pop(shipment.reference, None)
            asked_at, permit = (ready if purpose == "allocate" else None) or await self._permit(shipment, purpose)
            if not permit.may_call:
                return permit
            if permit.wait_s:
                await pause(permit.wait_s)
            if purpose == "allocate" and not self.may_start([shipment]):
                return Permit(owned=True, park=True, by_limit=True)
            sent = await self.send([shipment], purpose, send, asked_at, slot=permit.slot)
            if not sent.is_expired:
                return sent
        return Permit(owned=True, wait_s=WRITTEN_WITHIN_S, park=True, by_limit=True)

    async def _permit(self, shipment: Shipment, purpose: Purpose) -> tuple[float, Permit]:
        """When the permit was asked for, and the permit."""
        request = self.request(shipment, purpose)
        for _ in range(BUSY_TRIES):
            asked_at, permit = boottime(), await self.ledger.permit(request)
            if permit.slot:
                self.slots.add(shipment.reference)
            if not permit.busy:
                return asked_at, permit
            await pause(BUSY_WAIT_S * (1 + random.random()))  # noqa: S311  # jitter
        return 0.0, Permit(owned=True, wait_s=WRITTEN_WITHIN_S, park=True, by_limit=True)

    def may_start(self, shipments: Sequence[Shipment]) -> bool:
        """Whether a call that was decided upon may still start: its time is short, and so is that of a read-back."""
        file, now = self.account.merchant.file, self.ledger.now()
        retry, timeout_s = file.retry, file.api.timeout_s
        for each in shipments:  # not `all`, which costs more than the looks
            if not has_time_to_call(each, retry, timeout_s, now) or _is_stale(each, now):
                return False
        return True

    def is_stale(self, shipment: Shipment, margin_s: float) -> bool:
        """Whether a read-back must come before a call that is made so soon."""
        return shipment.progress.must_read and _is_stale(shipment, self.ledger.now() + margin_s)

    async def send(
        self,
        shipments: Sequence[Shipment],
        purpose: Purpose,
        send: Callable[[Request], Awaitable[AnswerT]],
        asked_at: float,
        *,
        slot: bool,
    ) -> Sent[AnswerT]:
        """Send a request whose permit was asked for then."""
        references = [shipment.reference for shipment in shipments]
        if purpose == "allocate":
            self.out.update(references)
        began, sent = boottime(), self.ledger.earliest()
        answer = await send(Request(references=references, write_by=asked_at + WRITTEN_WITHIN_S))
        is_expired = _is_expired(answer)
        if is_expired:
            self.out.difference_update(references)
        else:
            self.admitted.difference_update(references)
        return Sent(answer=answer, sent=sent, took_s=boottime() - began, slot=slot, is_expired=is_expired)

    def request(self, shipment: Shipment, purpose: Purpose, *, takes_slot: bool = True) -> PermitRequest:
        """What the ledger is asked. The call that a read-back allows is admitted with it, and takes no second place."""
        limits = self.account.merchant.file.limits
        admitted = purpose == "allocate" and shipment.reference in self.admitted
        return PermitRequest(
            shipment=shipment,
            lease_token=self.lease_token,
            purpose=purpose,
            per_second=limits.per_second if takes_slot and not admitted else 0.0,
            in_flight=limits.in_flight if takes_slot else 0,
            api=self.account.api,
        )

    def feedback(self, finding: Finding, purpose: Purpose) -> Feedback:
        """How the API did."""
        if isinstance(finding, Allocated):  # nearly always
            return _GOOD[purpose]
        return Feedback(
            signal=signal_of(finding), purpose=purpose, retry_after_s=getattr(finding, "retry_after_s", None) or 0.0
        )

    def context(self, tries: int, sent: float = 0.0, group_size: int = 1) -> Context:
        """What a decision knows now."""
        file = self.account.merchant.file
        chance = random.random()  # noqa: S311  # jitter
        return Context(self.ledger.now(), chance, tries, file.retry, file.api.timeout_s, sent, group_size)

    def afforded(self, feedback: Feedback, tries: int) -> int:
        """While an API answers badly, each further request of this visit must be afforded; else the visit is over."""
        if feedback.signal == "good":
            self.budget.earn()
            return tries
        return tries if self.budget.spend() else SHORT_TRIES

    def is_over(self, shipment: Shipment) -> None:
        """Its last request was recorded: nothing of it is on its way, and no place is held."""
        self.out.discard(shipment.reference)
        self.slots.discard(shipment.reference)


def stops(api: str) -> set[str]:
    """What of `Claim.stopped` concerns an API: its own breaker, and that of its host."""
    return {f"b:{api}", f"h:{api.rpartition('#')[0] or api}"}


def _is_stale(shipment: Shipment, now: float) -> bool:
    return shipment.progress.must_read and now > shipment.cleared_until


def _is_expired(answer: Any) -> bool:  # an outcome, or a mapping of them
    # One request brings one outcome for all when it is not sent.
    one = next(iter(answer.values())) if isinstance(answer, dict) else answer
    return isinstance(one, NotSent) and one.reason == PERMIT_EXPIRED


async def pause(seconds: float) -> None:
    """Wait, if there is something to wait for."""
    if seconds > 0:
        await asyncio.sleep(seconds)
