"""The actions of the pages: what one would do, and doing it."""

import re
import secrets
from dataclasses import replace
from typing import get_args

import tornado.web

from tasks.rules.decision import FailReason
from tasks.rules.order import RejectReason
from worker.ledger.operator_actions import LONGEST_TEXT, checked_text, first_use
from worker.ledger.records import known_merchants, server_ms
from worker.ledger.replay import WHY_KEPT
from worker.observability.text import visible
from worker.processes.flower.action_request import KINDS, LONGEST_S, ActionRequest
from worker.processes.flower.actions import Outcome, carry_out
from worker.processes.flower.page import Page

_OFF = (
    "Actions are switched off. To switch them on, set ALLOCATION_FLOWER_ACTIONS=true and "
    "ALLOCATION_FLOWER_BASIC_AUTH=user:password, and restart Flower."
)
_FORM_VALID_S = 3600
_FORM = re.compile(r"([0-9]{1,15})-[0-9a-f]{32}")
"""When the preview was made, in milliseconds since the epoch, and a name."""
_LISTED = 200
_RATE, _MOST_RATE = 50, 1000


class ActionPage(Page):
    """A preview with a form, which does what the preview shows."""

    def prepare(self) -> None:
        """Nothing is answered without a login, or while actions are off."""
        super().prepare()
        if not self._finished and not self.can_act:
            raise tornado.web.HTTPError(403, _OFF)

    async def get(self, action: str) -> None:
        """Show what would be done. Arguments: those of `ActionRequest`."""
        now_ms = await server_ms(self.sources.store.redis)
        request = replace(await self._requested(action), until_ms=now_ms)
        outcome = await carry_out(self.sources, request, self.operator, dry_run=True)
        self._show(request, outcome, form=f"{now_ms}-{secrets.token_hex(16)}")

    async def post(self, action: str) -> None:
        """Do it, once per form, to nothing that is newer than the preview, and show the result."""
        request = await self._requested(action)
        if request.kind.needs_why:
            request = replace(request, why=self._why())
        request = replace(request, until_ms=await self._use_form())
        outcome = await carry_out(self.sources, request, self.operator, dry_run=False)
        self._show(request, outcome, form=None)

    async def _requested(self, action: str) -> ActionRequest:
        if action not in KINDS:
            raise tornado.web.HTTPError(404, f"no action {action!r}")
        kind = KINDS[action]
        request = ActionRequest(
            name=action,
            merchant=self.query("merchant"),
            reason=self.query("reason"),
            # An empty strategy is that of causes without one.
            strategy=(self.query("strategy") or "") if "strategy" in self.request.arguments else None,
            reference=self.query("reference"),
            entry=self.query("entry"),
            limit=self._limit(kind.limit, kind.most) if kind.limit else 0,
            rate=self.number("rate", _RATE, least=0.01, most=_MOST_RATE) if kind.limit else _RATE,
        )
        await self._check(request)
        return request

    def _limit(self, default: int, most: int) -> int:
        value = self.number("limit", default, least=1, most=most)
        if value != int(value):
            raise tornado.web.HTTPError(400, "limit must be a whole number")
        return int(value)

    async def _check(self, request: ActionRequest) -> None:
        """Raise the error for arguments that are wrong or name nothing."""
        if request.problem:
            raise tornado.web.HTTPError(400, request.problem)
        reasons = get_args(RejectReason if request.kind.subject == "event" else FailReason)
        if request.reason and request.reason not in reasons:
            raise tornado.web.HTTPError(400, visible(f"no reason {request.reason!r}"))
        if request.merchant:
            known = await known_merchants(self.sources.store.redis, self.sources.settings.merchants_dir)
            if request.merchant not in known:
                raise tornado.web.HTTPError(404, visible(f"no merchant {request.merchant!r}"))

    def _why(self) -> str:
        # Tornado's own way to read an argument replaces control characters.
        text = self.decode_argument(self.request.arguments.get("why", [b""])[-1], "why")
        try:
            return checked_text(text)
        except ValueError as error:
            raise tornado.web.HTTPError(400, f"why {error}") from None

    async def _use_form(self) -> int:
        """When the preview was made. Refuses a form that was sent before, as by a double click, and an old one."""
        form = self.query("form") or ""
        made = _FORM.fullmatch(form)
        if not made:
            raise tornado.web.HTTPError(400, "form is missing or wrong; open the page of the action again")
        if abs(await self.server_time() - int(made[1]) / 1000) > _FORM_VALID_S:
            raise tornado.web.HTTPError(409, "The preview is older than an hour; open the page of the action again.")
        if not await first_use(self.sources.store.redis, form, 2 * _FORM_VALID_S):
            raise tornado.web.HTTPError(409, "This form was sent before. The audit log has what it did.")
        return int(made[1])

    def _show(self, request: ActionRequest, outcome: Outcome, form: str | None) -> None:
        """`form`: the name of the form; None after it was sent."""
        self.show(
            "action.html",
            action=request,
            kind=request.kind,
            outcome=outcome,
            form=form,
            listed=_LISTED,
            why_kept=WHY_KEPT,
            longest_s=LONGEST_S,
            longest_text=LONGEST_TEXT,
            most_rate=_MOST_RATE,
        )
