"""Keeps the last valid merchant files in the ledger, and uses them while a file is invalid."""

from config.settings import Settings
from worker.ledger.stored_files import parse_stored, read_stored, store_file, stored_versions, text_to_store
from worker.processes.merchant_files import MerchantFiles
from worker.redis_client.store import Store


class StoredFiles:
    """Writes changed files to the ledger, and restores those that are invalid."""

    def __init__(self, store: Store, merchants: MerchantFiles, settings: Settings) -> None:
        """Nothing is written yet."""
        self._store = store
        self._merchants = merchants
        self._settings = settings
        self._written_change = -1

    async def sync(self) -> None:
        """Write changed files, and restore invalid ones; does nothing while no file changes."""
        changes = self._merchants.changes
        await self.restore()
        if changes != self._written_change:
            await self._write()
            self._written_change = changes

    async def restore(self) -> None:
        """Use the stored version of each merchant whose file is invalid and of which none is in use."""
        for name, stored in (await read_stored(self._store.redis, self._merchants.without_version())).items():
            if merchant := parse_stored(name, stored, self._settings):
                self._merchants.adopt(merchant)

    async def _write(self) -> None:
        versions = await stored_versions(self._store.redis)
        in_use = {account.key for name in self._merchants.names() if (account := self._merchants.account(name))}
        keys = {key for key in in_use if key}
        for name in self._merchants.names():
            merchant = self._merchants.get(name)
            if merchant is None or versions.get(name) == merchant.version:
                continue
            if text := text_to_store(merchant, self._settings.merchants_dir, keys):
                await store_file(self._store.redis, self._settings, merchant, text)
