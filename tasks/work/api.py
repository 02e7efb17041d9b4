"""A merchant's allocation API, as a protocol."""

from collections.abc import Mapping
from typing import Protocol

from config.strategies.catalogue import AnyStrategy
from tasks.rules.outcome import Finding, Outcome, Quoted
from tasks.work.ports import Account, Request


class Api(Protocol):
    """A merchant's allocation API."""

    async def quote(self, account: Account, strategy: AnyStrategy, request: Request) -> Quoted | Outcome:
        """Request the quotes of one shipment and choose the best; allocates nothing."""

    async def allocate(
        self, account: Account, strategy: AnyStrategy, request: Request, quote: str | None = None
    ) -> Mapping[str, Outcome]:
        """Request an allocation in one call, with a quote if the strategy needs one; an outcome per shipment."""

    async def read_back(self, account: Account, request: Request) -> Finding:
        """Read back one shipment."""
