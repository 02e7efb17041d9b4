"""`allocation merchants`: merchant files in use, and the state of each merchant."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from config.merchant_files.api import find_key
from config.merchant_files.merchant_file import Merchant
from config.merchant_files.reading import read, read_all
from config.settings import Settings
from tasks.rules.shipment import iso
from worker.commands.example_lines import example
from worker.commands.nearest import check_merchant, no_such
from worker.commands.options import by as by_option
from worker.commands.options import why as why_option
from worker.commands.output import cell, print_json, print_table, say, table
from worker.commands.session import visit
from worker.ledger import keys
from worker.ledger.counters import is_of_merchant
from worker.ledger.operator_actions import record_action
from worker.ledger.stored_files import StoredFile, read_stored, read_version
from worker.observability.file_text import without_keys
from worker.observability.merchant_counts import MerchantCounts
from worker.observability.overview import read_overview
from worker.observability.text import clock, visible
from worker.redis_client.store import Redis, Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A merchant. `file`: valid, invalid or missing. `version`, `since`: of the file in use."""

    counts: MerchantCounts
    file: str
    version: str | None
    since: float | None
    has_key: bool | None

    def as_table(self) -> dict[str, Any]:
        """The row as JSON."""
        counts = self.counts
        return {
            "merchant": counts.merchant,
            "file": self.file,
            "version": self.version,
            "since": None if self.since is None else iso(self.since),
            "key_found": self.has_key,
            "paused": counts.paused,
            "on_hold": counts.on_hold,
            "unfinished": counts.unfinished,
        }


@click.group(invoke_without_command=True, epilog=example("allocation merchants show acme"))
@click.option("--json", "as_json", is_flag=True, help="Print the merchants as JSON.")
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> None:
    """List merchants: version of the file in use, since when, key, pause, hold, unfinished shipments.

    The file is the one that a process on this machine reads; while it is invalid, processes use the last valid version,
    which the ledger keeps.
    """
    if context.invoked_subcommand:
        return

    async def work(store: Store, settings: Settings) -> list[Row]:
        overview = await read_overview(store, settings)
        stored = await read_stored(store.redis, [each.merchant for each in overview.merchants])
        return [_row(each, settings, stored.get(each.merchant)) for each in overview.merchants]

    rows = visit(work)
    if as_json:
        print_json([row.as_table() for row in rows])
        return
    shown = table("merchant", "file", "version", "~since", "key", "#unfinished", "~stopped")
    for row in rows:
        stopped = f"on hold: {row.counts.on_hold}" if row.counts.on_hold else row.counts.paused
        key = None if row.has_key is None else "found" if row.has_key else "missing"
        since = None if row.since is None else clock(row.since)
        shown.add_row(
            *map(cell, (row.counts.merchant, row.file, row.version, since, key, row.counts.unfinished, stopped))
        )
    if rows:
        print_table(shown)
    else:
        say("no merchant yet")


def _row(counts: MerchantCounts, settings: Settings, stored: StoredFile | None) -> Row:
    path = _path(settings, counts.merchant)
    found = read(path, settings.http_hosts)
    if isinstance(found, Merchant):
        since = stored.since if stored and stored.version == found.version else None
        has_key = find_key(found.file.api.api_key) is not None
        return Row(counts=counts, file="valid", version=found.version, since=since, has_key=has_key)
    is_used = stored if path.exists() else None
    return Row(
        counts=counts,
        file="invalid" if path.exists() else "missing",
        version=is_used.version if is_used else None,
        since=is_used.since if is_used else None,
        has_key=None,
    )


@command.command(epilog=example("allocation merchants show acme --version 9f2c41d07be3"))
@click.argument("merchant")
@click.option("--version", metavar="DIGEST", help="An earlier version, as named by events and `explain`.")
def show(merchant: str, version: str | None) -> None:
    """Print the file of MERCHANT that is in use, and how it differs from the file on this machine."""

    async def work(store: Store, settings: Settings) -> tuple[StoredFile | None, str | None]:
        await check_merchant(store.redis, settings, merchant)
        stored = (await read_stored(store.redis, [merchant])).get(merchant)
        if version is not None:
            known = [stored.version] if stored else []
            stored = await read_version(store.redis, merchant, version)
            if stored is None:
                raise no_such("version", version, known)
        return stored, _on_disk(settings, merchant)

    stored, on_disk = visit(work)
    if stored is None:
        say(f"the ledger has no version of {merchant}.toml: it is stored once it is valid, with its key, in use")
        _print_text(on_disk or "")
        return
    say(f"version {stored.version}, in use since {clock(stored.since)}", bold=True)
    _print_text(stored.text)
    for line in _difference(merchant, stored.text, on_disk):
        say(line)


def _path(settings: Settings, merchant: str) -> Path:
    return settings.merchants_dir / f"{merchant}.toml"


def _on_disk(settings: Settings, merchant: str) -> str | None:
    """The text of the file on this machine, without API keys; None if there is none."""
    try:
        text = _path(settings, merchant).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    valid, _ = read_all(settings.merchants_dir, settings.http_hosts)
    return without_keys(text, valid.values())


def _print_text(text: str) -> None:
    for line in text.splitlines():
        click.echo(visible(line))


def _difference(merchant: str, stored: str, on_disk: str | None) -> Iterator[str]:
    if on_disk is None:
        yield f"{merchant}.toml does not exist on this machine"
    elif on_disk == stored:
        yield f"the same as {merchant}.toml on this machine"
    else:
        lines = stored.splitlines(), on_disk.splitlines()
        yield from difflib.unified_diff(*lines, "in use", f"{merchant}.toml", lineterm="")


@command.command(epilog=example("allocation merchants forget acme --why 'left the platform'"))
@click.argument("merchant")
@why_option
@by_option
def forget(merchant: str, *, why: str, by: str) -> None:
    """Remove what the ledger keeps of MERCHANT, whose file was deleted: counts, failures, stored files.

    Exit code 1: the file still exists, or the merchant has unfinished shipments. Records of settled shipments expire by
    themselves.
    """

    async def work(store: Store, settings: Settings) -> None:
        await check_merchant(store.redis, settings, merchant)
        (counts,) = [c for c in (await read_overview(store, settings)).merchants if c.merchant == merchant]
        if _path(settings, merchant).exists():
            raise click.ClickException(f"{merchant}.toml still exists; delete it first")
        if counts.unfinished:
            raise click.ClickException(f"{merchant} has {counts.unfinished} unfinished shipments")
        await _forget(store.redis, merchant)
        await record_action(store.redis, "forget", by, merchant, count=1, why=why)

    visit(work)
    say(f"forgot {merchant}")


async def _forget(redis: Redis, merchant: str) -> None:
    failed: Any = await redis.zrange(keys.failed(merchant), 0, -1)
    causes: Any = await redis.smembers(keys.failed_causes(merchant))
    counted = [field async for field, _ in redis.hscan_iter(keys.METRICS) if is_of_merchant(field, merchant)]
    pipe = redis.pipeline(transaction=True)
    if counted:
        pipe.hdel(keys.METRICS, *counted)
    for reference in failed:
        pipe.delete(keys.record(merchant, reference.decode()))
    for cause in causes:
        pipe.delete(keys.failed_cause(merchant, cause.decode()))
    pipe.delete(keys.failed_causes(merchant))
    pipe.delete(keys.failed(merchant), keys.counts(merchant), keys.window(merchant), keys.resumed(merchant))
    for key in (keys.MERCHANT_FILES, keys.MERCHANT_VERSIONS, keys.PAUSED, keys.ON_HOLD):
        pipe.hdel(key, merchant)
    pipe.srem(keys.KNOWN_MERCHANTS, merchant)
    pipe.zrem(keys.THROTTLED, merchant)
    await pipe.execute()
