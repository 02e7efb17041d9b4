"""The merchant files of shipments: those in use, and the versions that chose the plans."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from config.merchant_files.merchant_file import Merchant, MerchantFile
from config.merchant_files.retry import Retry
from config.settings import Settings
from tasks.rules.plan import Facts, why_not
from worker.ledger.records import Record
from worker.ledger.stored_files import parse_stored, read_version, usable_files
from worker.redis_client.store import Redis


@dataclass(frozen=True, kw_only=True, slots=True)
class FilesOfRecords:
    """`in_use`: the merchants with a valid file, by name. `kept`: files by merchant and version, of versions kept."""

    in_use: Mapping[str, Merchant] = field(default_factory=dict)
    kept: Mapping[tuple[str, str], MerchantFile] = field(default_factory=dict)

    def retry(self, record: Record) -> Retry | None:
        """The retry settings that are in use for a shipment; None without a valid file."""
        merchant = self.in_use.get(record.shipment.merchant)
        return merchant.file.retry if merchant else None

    def version_in_use(self, record: Record) -> str | None:
        """The version of the file that is in use; None without a valid one."""
        merchant = self.in_use.get(record.shipment.merchant)
        return merchant.version if merchant else None

    def rules_before(self, record: Record) -> list[tuple[str, str]] | None:
        """The rules before the one that matched, each with the reason why it did not.

        None if the version of the file that chose the plan is no longer kept.
        """
        shipment = record.shipment
        file = self.kept.get((shipment.merchant, shipment.merchant_file or ""))
        return None if file is None else [*_rules_before(file, shipment.rule, Facts.from_table(record.facts))]


def _rules_before(file: MerchantFile, matched: str, facts: Facts) -> Iterator[tuple[str, str]]:
    for rule in file.rules:
        if rule.name == matched:
            return
        yield rule.name, why_not(rule.when, facts) or "its conditions hold as this version compares them"


async def read_files(redis: Redis, settings: Settings, records: Iterable[Record]) -> FilesOfRecords:
    """The files of these shipments."""
    versions = {(each.shipment.merchant, each.shipment.merchant_file or "") for each in records}
    in_use = await usable_files(redis, settings, {merchant for merchant, _ in versions})
    kept = {(merchant.name, merchant.version): merchant.file for merchant in in_use.values()}
    for merchant, version in sorted(versions - kept.keys()):
        stored = await read_version(redis, merchant, version) if version else None
        if stored and (parsed := parse_stored(merchant, stored, settings)):
            kept[merchant, version] = parsed.file
    return FilesOfRecords(in_use=in_use, kept=kept)
