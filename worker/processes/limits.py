"""The limits of the merchant files, told to the ledger whenever a file changes."""

from worker.ledger.ledger import Ledger
from worker.processes.merchant_files import MerchantFiles

Limit = tuple[int, float]
NONE: Limit = (0, 0.0)


class Limits:
    """Remembers what the ledger was told, so that it is told only what is new."""

    def __init__(self, ledger: Ledger, merchants: MerchantFiles) -> None:
        """Nothing has been told yet."""
        self._ledger = ledger
        self._merchants = merchants
        self._told: dict[str, Limit] = {}
        self._told_of_change = -1

    async def tell(self) -> None:
        """Bring the ledger up to date; costs nothing while no file changes."""
        changes = self._merchants.changes
        if changes == self._told_of_change:
            return
        for name in self._merchants.names():
            await self._tell(name)
        # As counted before: a file may have changed while others were told.
        self._told_of_change = changes

    async def _tell(self, name: str) -> None:
        limit = self._limit(name)
        # A first look tells everything: an earlier process may have told other limits.
        if self._told.get(name) != limit:
            await self._ledger.set_limits(name, *limit)
            self._told[name] = limit

    def _limit(self, name: str) -> Limit:
        """As shipments: a merchant whose every call carries many may have many more of them at work."""
        merchant = self._merchants.get(name)
        if merchant is None:
            return NONE
        api, limits = merchant.file.api, merchant.file.limits
        carried = min(s.per_call(api.flavour, bulk=api.bulk) for _, s in merchant.file.strategies())
        return limits.in_flight * carried, limits.per_second * carried
