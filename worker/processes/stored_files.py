"""Keeps the last valid merchant files in the ledger, and uses them while a file is invalid."""

import structlog

from config.settings import Settings
from worker.ledger.logged_files import forget_invalid_file, note_invalid_file, noted_invalid_files
from worker.ledger.stored_files import parse_stored, read_stored, store_file, stored_versions, text_to_store
from worker.processes.merchant_files import MerchantFiles
from worker.redis_client.store import Store

log = structlog.get_logger(__name__)


class StoredFiles:
    """Writes changed files to the ledger, and restores those that are invalid."""

    def __init__(self, store: Store, merchants: MerchantFiles, settings: Settings) -> None:
        """Nothing is written yet."""
        self._store = store
        self._merchants = merchants
        self._settings = settings
        self._written_change = -1
        self._logged: dict[str, list[str]] | None = None

    async def sync(self) -> None:
        """Write changed files, restore invalid ones, and log both; does nothing while no file changes."""
        changes = self._merchants.changes
        await self._log_problems()
        await self.restore()
        if changes != self._written_change:
            await self._write()
            self._written_change = changes

    async def restore(self) -> None:
        """Use the stored version of each merchant whose file is invalid and of which none is in use."""
        for name, stored in (await read_stored(self._store.redis, self._merchants.without_version())).items():
            if merchant := parse_stored(name, stored, self._settings):
                self._merchants.adopt(merchant)

    async def _log_problems(self) -> None:
        """Log each invalid file once, and once when it is valid again, over all processes and restarts."""
        found = {file: [str(each) for each in problems] for file, problems in self._merchants.problems.items()}
        if found == self._logged:
            return
        redis, first = self._store.redis, self._logged is None
        for file, problems in found.items():
            if problems != (self._logged or {}).get(file) and await note_invalid_file(redis, file, problems):
                kept = "the last valid version is used, if there is one; else its orders are rejected"
                log.error("merchant_file_invalid", problems=problems, next=kept)
        valid = {f"{name}.toml" for name in self._merchants.names()} - found.keys()
        for file in valid & (await noted_invalid_files(redis) if first else (self._logged or {}).keys()):
            if await forget_invalid_file(redis, file):
                log.info("merchant_file_valid", file=file)
        self._logged = found

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
