"""Writes the limits of the merchant files to the ledger whenever a file changes."""

from worker.ledger.ledger import Ledger
from worker.processes.merchant_files import MerchantFiles

Limit = tuple[int, float]
NONE: Limit = (0, 0.0)


class Limits:
    """Remembers the written limits, so that only changes are written."""

    def __init__(self, ledger: Ledger, merchants: MerchantFiles) -> None:
        """Nothing is written yet."""
        self._ledger = ledger
        self._merchants = merchants
        self._written: dict[str, Limit] = {}
        self._written_change = -1

    async def write(self) -> None:
        """Write changed limits to the ledger; does nothing while no file changes."""
        changes = self._merchants.changes
        if changes == self._written_change:
            return
        for name in self._merchants.names():
            await self._write(name)
        # The count from before the loop: a file may have changed during it.
        self._written_change = changes

    async def _write(self, name: str) -> None:
        limit = self._limit(name)
        # Everything is written once: an earlier process may have written other limits.
        if self._written.get(name) != limit:
            await self._ledger.set_limits(name, *limit)
            self._written[name] = limit

    def _limit(self, name: str) -> Limit:
        """The limits in shipments: the limits in calls, times the number of shipments each call carries."""
        merchant = self._merchants.get(name)
        if merchant is None:
            return NONE
        api, limits = merchant.file.api, merchant.file.limits
        carried = min(s.per_call(api.flavour, bulk=api.bulk) for _, s in merchant.file.strategies())
        return limits.in_flight * carried, limits.per_second * carried
