"""The audit log: what operators did."""

from worker.ledger.operator_actions import read_actions
from worker.processes.flower.page import Page

_LISTED = 200


class AuditPage(Page):
    """The latest actions, newest first."""

    async def get(self) -> None:
        """List them."""
        self.show("audit.html", actions=await read_actions(self.sources.store.redis, _LISTED))
