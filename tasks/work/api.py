"""A merchant's allocation API, as a protocol."""

from collections.abc import Mapping
from typing import Protocol

from config.strategies.catalogue import AnyStrategy
from tasks.rules.outcome import Finding, Outcome, Quoted
from tasks.work.ports import Account, Request


class Api(Protocol):
    """A merchant's allocation API."""

    async def quote(self, account: Account, strategy: AnyStrategy, request: Request) -> Quoted | Outcome:
        """Ask for the quotes of one shipment and choose among them; allocates nothing."""

    async def allocate(
        self, account: Account, strategy: AnyStrategy, request: Request, quote: str | None = None
    ) -> Mapping[str, Outcome]:
        """Ask for an allocation by one call, with a quote where the strategy needs one; an outcome for each."""

    async def read_back(self, account: Account, request: Request) -> Finding:
        """Read one shipment."""
