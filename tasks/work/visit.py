"""A shipment's visit to a task: while the decision is to call or to read back, ask, decide, record; then leave."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

from tasks.rules.after_call import after_call, after_quotes
from tasks.rules.after_read_back import after_read
from tasks.rules.before_call import held_up
from tasks.rules.decision import REQUESTS, Call, Fail, FallBack, Move, Park, Read, Settle
from tasks.rules.denial import ALONE_WITHIN_S, accepts_key, own_denial
from tasks.rules.outcome import Finding, Heard, Outcome, Purpose, Quoted, Refused, Stopped
from tasks.rules.shipment import Shipment, stopped_call
from tasks.work.alerts import Telemetry
from tasks.work.api import Api
from tasks.work.journal import Answered, Leave, Writer
from tasks.work.ports import Permit
from tasks.work.requests import Requests, Sent, pause

Asked = tuple[Move, Answered | None]
"""The next move, and what the request before it left behind (None: none was made)."""

_END: dict[type[Leave], str] = {Settle: "allocated", FallBack: "fell_back", Park: "parked", Fail: "failed"}

MARGIN_S = 1.0
"""A call is asked for well before the read-back that allows it becomes too old."""


@dataclass(kw_only=True, slots=True, eq=False)
class Visits:
    """The visits of one task's shipments: what they share."""

    requests: Requests
    api: Api
    writer: Writer
    telemetry: Telemetry
    in_hands: dict[str, Shipment]
    left_as: Callable[[str], None]
    """Told how a shipment left: one of `tasks.work.messages.ENDS`."""
    fell_back: Callable[[Shipment], None]
    quotes: dict[str, str] = field(default_factory=dict)
    """The quotes that were asked for and not used yet, by shipment."""
    turns: contextlib.AbstractAsyncContextManager[Any] = field(default_factory=contextlib.nullcontext)
    """The merchant's calls in flight, as far as this task makes them."""

    async def follow(self, move: Move, tries: int = 0) -> None:
        """Follow one shipment from move to move until it leaves this task."""
        while isinstance(move, REQUESTS):
            if move.pause_s:
                await pause(move.pause_s)
            async with self.turns:
                asked = await self._ask(move, tries)
                if asked is None:
                    return self.let_go(move.shipment)
                following = await self.record(*asked)
            if following is None:
                return None
            move, tries = following, tries + 1
        return await self.leave(move)

    def _ask(self, move: Call | Read, tries: int) -> Awaitable[Asked | None]:
        """The next move, and what the request left behind; None for a shipment that is not ours any more."""
        shipment = move.shipment
        if isinstance(move, Read) or self.requests.is_stale(shipment, MARGIN_S):
            return self.read(shipment, tries)
        return self._call(shipment, tries)

    async def read(self, shipment: Shipment, tries: int) -> Asked | None:
        """Read a shipment back."""
        account = self.requests.account
        sent = await self.requests.ask(shipment, "read", lambda request: self.api.read_back(account, request))
        if isinstance(sent, Permit):
            return self.stay_behind(shipment, sent)
        self.requests.admitted.add(shipment.reference)
        return await self._judged(shipment, sent, sent.answer, "read", tries)

    async def _call(self, shipment: Shipment, tries: int) -> Asked | None:
        """Call for the present step, with a quote where it needs one."""
        account, strategy = self.requests.account, shipment.strategy
        flavour = account.merchant.file.api.flavour
        if unfit := strategy.unfit(flavour):
            return self._unfit(shipment, unfit)
        quote = self.quotes.pop(shipment.reference, None)
        if quote is None and flavour in strategy.needs_quote:
            return await self._ask_for_quotes(shipment, tries)
        sent = await self.requests.ask(shipment, "allocate", lambda r: self.api.allocate(account, strategy, r, quote))
        if isinstance(sent, Permit):
            return self.stay_behind(shipment, sent)
        return await self._judged(shipment, sent, sent.answer[shipment.reference], "allocate", tries)

    async def _ask_for_quotes(self, shipment: Shipment, tries: int) -> Asked | None:
        """Ask, and then call with the best; read back in between, should asking take so long that this is due again."""
        account, strategy = self.requests.account, shipment.strategy
        sent = await self.requests.ask(shipment, "quote", lambda r: self.api.quote(account, strategy, r))
        if isinstance(sent, Permit):
            return self.stay_behind(shipment, sent)
        if not isinstance(sent.answer, Quoted):
            return await self._without_quote(shipment, sent.answer, sent, tries)
        if shipment.reference == self.writer.taken.probe:
            await self._lift_pause(Heard(answer="good", purpose="quote"), sent.answer)
        self.quotes[shipment.reference] = sent.answer.reference
        return await self._ask(Call(shipment=shipment), tries)

    def _unfit(self, shipment: Shipment, unfit: str) -> Asked:
        """The plan is from before the merchant changed to the other generation of the API: no request is made."""
        outcome = Refused(reason="strategy_unfit", message=unfit)
        entry = self.writer.entry("allocate", shipment, outcome, 0.0)
        heard = Heard(answer="", purpose="allocate")
        return after_call(shipment, outcome, self.requests.moment(0)), Answered(entry=entry, heard=heard)

    async def _without_quote(self, shipment: Shipment, outcome: Outcome, sent: Sent[Any], tries: int) -> Asked:
        heard = self.requests.heard(outcome, "quote")
        outcome = cast(Outcome, await self._whose_denial(shipment, outcome, "quote", of_step=True))
        moment = self.requests.moment(self.requests.afforded(heard, tries + 1))
        entry = self.writer.entry("quote", shipment, outcome, sent.took_s)
        return after_quotes(shipment, outcome, moment), Answered(entry=entry, heard=heard, place=sent.place)

    async def _judged(
        self, shipment: Shipment, sent: Sent[Any], finding: Finding, purpose: Purpose, tries: int
    ) -> Asked:
        """What an answer comes to: the next move, and what the request leaves behind."""
        heard = self.requests.heard(finding, purpose)
        if heard.answer == "denied":
            finding = await self._whose_denial(shipment, finding, purpose, of_step=purpose == "allocate")
        answered = self.answered(shipment, finding, heard, sent.took_s, place=sent.place)
        moment = self.requests.moment(self.requests.afforded(heard, tries + 1), sent.sent)
        if shipment.reference == self.writer.taken.probe:
            await self._lift_pause(heard, finding)
        if purpose == "read":
            return after_read(shipment, finding, moment), answered
        return after_call(shipment, cast(Outcome, finding), moment), answered

    async def _whose_denial(self, shipment: Shipment, finding: Finding, purpose: Purpose, *, of_step: bool) -> Finding:
        """A 403 that others do not get is the shipment's own."""
        if not isinstance(finding, Stopped) or finding.reason != "forbidden":
            return finding
        ledger, api = self.writer.ledger, self.requests.account.api
        last_good = await ledger.last_good(api, purpose)
        if shipment.progress.denied_at:
            return own_denial(shipment, finding, last_good, of_step=of_step)
        if ledger.now() - last_good > ALONE_WITHIN_S or not await ledger.first_denial(api, shipment.reference):
            return finding
        return replace(finding, reason="forbidden_here")

    def answered(self, shipment: Shipment, finding: Finding, heard: Heard, took_s: float, *, place: bool) -> Answered:
        """What a request leaves behind."""
        entry = self.writer.entry(heard.purpose, shipment, finding, took_s)
        return Answered(entry=entry, heard=heard, place=place)

    async def _lift_pause(self, heard: Heard, finding: Finding | Quoted) -> None:
        """The API answered the probe, or refused this shipment alone: the key works."""
        paused, merchant = self.writer.taken.paused, self.requests.account.merchant.name
        if paused and heard.purpose == paused.purpose and accepts_key(heard, finding):
            self.telemetry.resumed(merchant, await self.writer.ledger.resume(merchant))

    def stay_behind(self, shipment: Shipment, permit: Permit) -> Asked | None:
        """What becomes of a shipment whose request may not go out now; None when it is another's."""
        if not permit.held:
            return None
        return held_up(shipment, self.requests.moment(tries=0), permit.wait_s, by_us=permit.by_us), None

    async def record(self, move: Move, answered: Answered | None) -> Call | Read | None:
        """Write what a request came to; returns how the shipment goes on with this task, if it does."""
        if not isinstance(move, REQUESTS):
            await self.leave(move, answered)
            return None
        if answered is None:
            return move
        noted = await self.writer.keep(move.shipment, answered)
        if noted is None:
            self.let_go(move.shipment)
            return None
        self.in_hands[noted.reference] = noted
        self.requests.is_over(noted)
        return replace(move, shipment=noted)

    async def leave(self, move: Leave, answered: Answered | None = None) -> None:
        """Write how a shipment leaves, and what the request before it left behind."""
        place = answered is None and move.shipment.reference in self.requests.places
        self.left(move, written=await self.writer.leave(move, answered, place=place))

    def left(self, move: Leave, *, written: bool) -> None:
        """A shipment has left; what fell back is handed on."""
        self.let_go(move.shipment)
        if not written:
            return
        self.left_as(_END[type(move)])
        if isinstance(move, FallBack):
            self.fell_back(move.shipment)

    def let_go(self, shipment: Shipment) -> None:
        """The shipment is not ours any more."""
        self.in_hands.pop(shipment.reference, None)
        self.requests.is_over(shipment)

    async def hand_back(self, shipment: Shipment, wait_s: float = 0.0) -> None:
        """Give up a shipment; a call for it that was on its way is open from now on."""
        if shipment.reference in self.requests.out:
            shipment = stopped_call(shipment, self.writer.ledger.now())
        await self.leave(Park(shipment=shipment, wait_s=wait_s))
