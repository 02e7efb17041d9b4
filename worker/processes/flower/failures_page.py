"""Failed shipments to deal with: by cause, and those of a cause."""

import tornado.web

from worker.ledger.failures import newest_failures
from worker.observability.failures import order_of, read_causes, with_messages
from worker.processes.flower.page import Page

_CAUSES = 50
_LISTED = 50


class FailuresPage(Page):
    """A row per cause, the most frequent first."""

    async def get(self) -> None:
        """Arguments: `merchant`, `reason`: only theirs; `page`, from 1."""
        store, settings = self.sources.store, self.sources.settings
        merchant, reason, page = self.query("merchant"), self.query("reason"), self.page_number()
        causes = await read_causes(store, settings, merchant, reason)
        first = (page - 1) * _CAUSES
        self.show(
            "failures.html",
            causes=await with_messages(store, settings, causes[first : first + _CAUSES]),
            total=sum(cause.shipments for cause in causes),
            number=len(causes),
            merchant=merchant,
            reason=reason,
            page=page,
            pages=-(-len(causes) // _CAUSES),
            now=await self.server_time(),
        )


class CausePage(Page):
    """The shipments of a cause, the newest first."""

    async def get(self) -> None:
        """Arguments: `merchant`, `reason`, `strategy`; `page`, from 1."""
        store, settings = self.sources.store, self.sources.settings
        merchant, reason, strategy = self.query("merchant"), self.query("reason"), self.query("strategy") or ""
        if not merchant or not reason:
            raise tornado.web.HTTPError(400, "merchant and reason are needed")
        counts = [each for each in await read_causes(store, settings, merchant, reason) if each.strategy == strategy]
        found, page = await with_messages(store, settings, counts), self.page_number()
        if not found:
            raise tornado.web.HTTPError(404, "No failure of this cause is to be dealt with.")
        cause = found[0]
        first = (page - 1) * _LISTED
        failures = await newest_failures(
            store.redis, settings, merchant, f"{reason} {strategy}", first=first, most=_LISTED
        )
        self.show(
            "cause.html",
            cause=cause,
            failures=[(failure, order_of(failure)) for failure in failures],
            page=page,
            pages=-(-cause.shipments // _LISTED),
            now=await self.server_time(),
        )
