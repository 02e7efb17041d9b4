"""A merchant: state, problems, the file in use, what its rules and strategies did, and its failures."""

from config.merchant_files.merchant_file import Merchant
from worker.ledger.failures import newest_failures
from worker.ledger.records import unfinished_shipments
from worker.ledger.stored_files import StoredFile, parse_stored, read_stored
from worker.observability.failures import order_of, read_causes, with_messages
from worker.observability.file_text import without_keys
from worker.observability.metrics import Readings
from worker.observability.nearest import nearest
from worker.processes.flower.merchant_tables import rule_rows, strategy_rows
from worker.processes.flower.overview_page import FRESH_S
from worker.processes.flower.overview_rows import MerchantRow, merchant_rows
from worker.processes.flower.page import Page

_LISTED = 20


class MerchantPage(Page):
    """Everything about one merchant."""

    async def get(self, name: str) -> None:
        """`name`: which one."""
        readings = await self.sources.readings.readings(FRESH_S)
        row = next((row for row in merchant_rows(readings) if row.name == name), None)
        if row is None:
            self.set_status(404)
            known = [each.merchant for each in readings.overview.merchants]
            self.show("unknown_merchant.html", name=name, nearest=nearest(name, known))
            return
        await self._show(readings, row)

    async def _show(self, readings: Readings, row: MerchantRow) -> None:
        store, settings, name = self.sources.store, self.sources.settings, row.name
        stored = (await read_stored(store.redis, [name])).get(name)
        in_use = parse_stored(name, stored, settings) if stored else None
        causes = await read_causes(store, settings, name)
        newest = await newest_failures(store.redis, settings, name, None, most=_LISTED)
        self.show(
            "merchant.html",
            row=row,
            counts=row.counts,
            problems=[each for each in readings.problems if each.merchants is not None and each.concerns(name)],
            invalid=self.sources.readings.files.problems.get(f"{name}.toml", []),
            stored=stored,
            file_text=self._without_keys(stored, in_use),
            rules=rule_rows(in_use.file if in_use else None, name, readings.counters),
            strategies=strategy_rows(name, readings.counters),
            unfinished=await unfinished_shipments(store.redis, name, _LISTED),
            causes=await with_messages(store, settings, causes[:_LISTED]),
            more_causes=max(0, len(causes) - _LISTED),
            failures=[(failure, order_of(failure)) for failure in newest],
            now=readings.overview.now,
        )

    def _without_keys(self, stored: StoredFile | None, in_use: Merchant | None) -> str:
        """The text in use; a file that may contain a key is not stored, but keys may have changed since."""
        files = self.sources.readings.files
        known = [merchant for name in files.names() if (merchant := files.get(name))]
        return without_keys(stored.text, [*known, *([in_use] if in_use else [])]) if stored else ""
