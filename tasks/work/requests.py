"""Requests to the API: sent only with a permit of the ledger, and within a second of requesting it."""

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
"""A request that is not written within this time after requesting its permit is not sent."""

MAX_PERMITS = 5
"""Permits of a request that may expire before the shipment is parked."""

BUSY_WAIT_S, BUSY_TRIES = 0.1, 50
"""How long, and how many times, a request waits for one of the merchant's slots."""

PERMITTED = Permit(owned=True)

_GOOD: dict[Purpose, Feedback] = {each: Feedback(signal="good", purpose=each) for each in get_args(Purpose)}

ResponseT = TypeVar("ResponseT")


class Sent(NamedTuple, Generic[ResponseT]):
    """A response, when its request was sent, how long it took, and whether a slot must be returned.

    `is_expired`: the request was not written in time and not sent.
    """

    response: ResponseT
    sent: float
    took_s: float
    slot: bool
    is_expired: bool


@dataclass(kw_only=True, slots=True, eq=False)
class Requests:
    """The requests for the shipments of one batch."""

    account: Account
    lease_token: str
    ledger: Ledger
    budget: RetryBudget
    calling: set[str] = field(default_factory=set)
    """The shipments with an allocation call in flight."""
    slots: set[str] = field(default_factory=set)
    """The shipments with a slot that has not been returned."""
    admitted: set[str] = field(default_factory=set)
    """The shipments whose last request was a read-back; the call that follows it counts against no rate limit."""
    ahead: dict[str, tuple[float, Permit]] = field(default_factory=dict)
    """Permits requested in advance, and when, by shipment."""

    def admit(self, claim: Claim) -> None:
        """Use the permits that came with the claim, if the merchant has no limits and no breaker of the API is open."""
        limits, api = self.account.merchant.file.limits, self.account.api
        if claim.permitted and not (limits.in_flight or limits.per_second or stops(api) & claim.stopped):
            self.ahead = dict.fromkeys(claim.permitted, (claim.requested_at, PERMITTED))

    async def permit_ahead(self, shipments: Sequence[Shipment]) -> None:
        """Request the permits of several first calls, each for one shipment, in one round trip."""
        wanted = [self.permit_request(each, "allocate") for each in shipments if each.reference not in self.ahead]
        if not wanted:
            return
        shipments = [each.shipment for each in wanted]
        requested_at, permits = boottime(), await self.ledger.permit_all(wanted)
        for shipment, permit in zip(shipments, permits, strict=True):
            if permit.slot:
                self.slots.add(shipment.reference)
            if not permit.busy:
                self.ahead[shipment.reference] = requested_at, permit

    def ready(self, shipments: Sequence[Shipment]) -> tuple[float, Permit] | None:
        """The permit of a first call for all of these, and when it was requested; None if one has no permit yet."""
        found = [self.ahead.pop(each.reference, None) for each in shipments]
        requested_at = [each[0] for each in found if each is not None]
        return (min(requested_at), PERMITTED) if len(requested_at) == len(found) else None

    async def send_one(
        self, shipment: Shipment, purpose: Purpose, send: Callable[[Request], Awaitable[ResponseT]]
    ) -> Sent[ResponseT] | Permit:
        """Send one request for one shipment; returns the permit if the request may not be sent now."""
        for _ in range(MAX_PERMITS):
            ready = self.ahead.pop(shipment.reference, None)
            requested_at, permit = (ready if purpose == "allocate" else None) or await self._permit(shipment, purpose)
            if not permit.may_call:
                return permit
            if permit.wait_s:
                await pause(permit.wait_s)
            if purpose == "allocate" and not self.may_start([shipment]):
                return Permit(owned=True, park=True, by_limit=True)
            sent = await self.send([shipment], purpose, send, requested_at, slot=permit.slot)
            if not sent.is_expired:
                return sent
        return Permit(owned=True, wait_s=WRITTEN_WITHIN_S, park=True, by_limit=True)

    async def _permit(self, shipment: Shipment, purpose: Purpose) -> tuple[float, Permit]:
        """When the permit was requested, and the permit."""
        request = self.permit_request(shipment, purpose)
        for _ in range(BUSY_TRIES):
            requested_at, permit = boottime(), await self.ledger.permit(request)
            if permit.slot:
                self.slots.add(shipment.reference)
            if not permit.busy:
                return requested_at, permit
            await pause(BUSY_WAIT_S * (1 + random.random()))  # noqa: S311  # jitter
        return 0.0, Permit(owned=True, wait_s=WRITTEN_WITHIN_S, park=True, by_limit=True)

    def may_start(self, shipments: Sequence[Shipment]) -> bool:
        """Whether there is still time to call, and no required read-back has become too old."""
        file, now = self.account.merchant.file, self.ledger.now()
        retry, timeout_s = file.retry, file.api.timeout_s
        for each in shipments:  # not `all`: a generator costs more than the checks
            if not has_time_to_call(each, retry, timeout_s, now) or _is_stale(each, now):
                return False
        return True

    def is_stale(self, shipment: Shipment, margin_s: float) -> bool:
        """Whether a call made within `margin_s` must be preceded by a read-back."""
        return shipment.progress.must_read and _is_stale(shipment, self.ledger.now() + margin_s)

    async def send(
        self,
        shipments: Sequence[Shipment],
        purpose: Purpose,
        send: Callable[[Request], Awaitable[ResponseT]],
        requested_at: float,
        *,
        slot: bool,
    ) -> Sent[ResponseT]:
        """Send a request whose permit was requested at `requested_at`."""
        references = [shipment.reference for shipment in shipments]
        if purpose == "allocate":
            self.calling.update(references)
        began, sent = boottime(), self.ledger.earliest()
        response = await send(Request(references=references, write_by=requested_at + WRITTEN_WITHIN_S))
        is_expired = _is_expired(response)
        if is_expired:
            self.calling.difference_update(references)
        else:
            self.admitted.difference_update(references)
        return Sent(response=response, sent=sent, took_s=boottime() - began, slot=slot, is_expired=is_expired)

    def permit_request(self, shipment: Shipment, purpose: Purpose, *, takes_slot: bool = True) -> PermitRequest:
        """The request for a permit; a call that directly follows a read-back counts against no rate limit."""
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
        """The feedback for the ledger."""
        if isinstance(finding, Allocated):  # nearly always
            return _GOOD[purpose]
        return Feedback(
            signal=signal_of(finding), purpose=purpose, retry_after_s=getattr(finding, "retry_after_s", None) or 0.0
        )

    def context(self, tries: int, sent: float = 0.0, group_size: int = 1) -> Context:
        """The context of a decision made now."""
        file = self.account.merchant.file
        chance = random.random()  # noqa: S311  # jitter
        return Context(self.ledger.now(), chance, tries, file.retry, file.api.timeout_s, sent, group_size)

    def afforded(self, feedback: Feedback, tries: int) -> int:
        """Earn or spend retry budget; returns `tries`, or the maximum of a visit if the budget is exhausted."""
        if feedback.signal == "good":
            self.budget.earn()
            return tries
        return tries if self.budget.spend() else SHORT_TRIES

    def complete(self, shipment: Shipment) -> None:
        """The last request of a shipment is recorded: no call is in flight and no slot is taken."""
        self.calling.discard(shipment.reference)
        self.slots.discard(shipment.reference)


def stops(api: str) -> set[str]:
    """The entries of `Claim.stopped` that apply to an API: its breaker and that of its host."""
    return {f"b:{api}", f"h:{api.rpartition('#')[0] or api}"}


def _is_stale(shipment: Shipment, now: float) -> bool:
    return shipment.progress.must_read and now > shipment.cleared_until


def _is_expired(response: Any) -> bool:  # an outcome, or a mapping of them
    # An unsent request has the same outcome for all its shipments.
    outcome = next(iter(response.values())) if isinstance(response, dict) else response
    return isinstance(outcome, NotSent) and outcome.reason == PERMIT_EXPIRED


async def pause(seconds: float) -> None:
    """Sleep, unless `seconds` is 0 or less."""
    if seconds > 0:
        await asyncio.sleep(seconds)
