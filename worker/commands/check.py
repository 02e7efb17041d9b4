"""`allocation check`: validates settings and merchant files."""

import asyncio
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import click
from pydantic_settings import BaseSettings

from config.merchant_files.api import KeyFromEnv, KeyFromFile, find_key
from config.merchant_files.merchant_file import Choice, Merchant, read_all, short_quiet_time
from config.settings import FormatError, Settings, SettingsError
from config.unknown_settings import NOT_A_SETTING, unknown_names
from worker.commands.check_order import check_order
from worker.commands.example_lines import example
from worker.commands.output import cell, print_json, print_table, say, table
from worker.commands.publish import EVENT_FILE
from worker.commands.session import connected
from worker.observability.text import count
from worker.processes.environment import load
from worker.redis_client.store import RedisError, Store

Severity = Literal["problem", "warning", "note"]
_COLOURS = {"problem": "red", "warning": "yellow", "note": "cyan"}

ENVIRONMENT = "environment"
_REDIS_UNSET = "ALLOCATION_REDIS_URL: is not set"
_PATIENCE_S = 1.0


class _Where(BaseSettings):
    """The settings that reading merchant files needs; they are there even when others are wrong."""

    model_config = Settings.model_config

    merchants_dir: Path = Settings.model_fields["merchants_dir"].default
    allow_http_hosts: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remark:
    """A finding and what to do about it. Only a problem makes the check fail."""

    severity: Severity
    file: str
    key: str
    text: str

    def __str__(self) -> str:
        """`problem: acme.toml: api.base_url: ...`."""
        return ": ".join(part for part in (self.severity, self.file, self.key, self.text) if part)


@click.command(epilog=example("allocation check config/merchants --strict", "allocation check --order order.json"))
@click.argument(
    "folder", required=False, metavar="[DIR]", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--strict", is_flag=True, help="Fail on warnings, too: a gate for a deploy.")
@click.option(
    "--order", "order", type=EVENT_FILE, metavar="FILE", help="Show rule and plan of each shipment of an order."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
def command(folder: Path | None, *, strict: bool, order: Path | None, as_json: bool) -> None:
    """Validate the settings and every merchant file in DIR (by default ALLOCATION_MERCHANTS_DIR).

    Each problem is named with file, key and advice, and makes the exit code 1. A warning does so only with --strict:
    without its API key, for one, a merchant is paused until the key is there. No API is called, and no key is printed.
    Redis need not run: if it responds within a second, its settings for replicas are compared with the merchants' quiet
    times.
    """
    where = _where()
    hosts = Settings.model_construct(allow_http_hosts=where.allow_http_hosts).http_hosts
    folder = folder or where.merchants_dir
    merchants, problems = read_all(folder, hosts)
    if order is not None:
        check_order(order, merchants, as_json=as_json)
        return
    remarks = [
        *_of_settings(),
        *(Remark(severity="problem", file=p.file, key=p.key, text=p.text) for p in problems),
        *_of_folder(folder),
        *(remark for merchant in merchants.values() for remark in (*_of_key(merchant), *_of_times(merchant))),
        *_of_replicas(merchants.values()),
    ]
    if as_json:
        print_json(_document(merchants.values(), remarks))
    else:
        _print(merchants.values(), remarks)
    fatal = {"problem", "warning"} if strict else {"problem"}
    sys.exit(int(any(remark.severity in fatal for remark in remarks)))


def _where() -> _Where:
    try:
        return _Where()
    except (ValueError, OSError):
        # Said as a problem of the settings.
        return _Where.model_construct()


def _of_settings() -> Iterator[Remark]:
    try:
        load()
    except SettingsError as error:
        for line in str(error).splitlines():
            key, _, text = line.partition(": ")
            # Files can be checked where no server is at hand.
            severity: Severity = "note" if line.startswith(_REDIS_UNSET) else "problem"
            yield Remark(severity=severity, file=ENVIRONMENT, key=key, text=text)
    for slot, name in unknown_names():
        yield Remark(severity="warning", file=slot, key=name, text=NOT_A_SETTING)


def _of_folder(folder: Path) -> Iterator[Remark]:
    names = sorted(path.name for path in folder.glob("*") if path.suffix.lower() == ".toml")
    if not any(name.endswith(".toml") for name in names):
        text = "no merchant file; create <merchant>.toml (`allocation schema merchant-file` prints its schema)"
        yield Remark(severity="problem", file=str(folder), key="", text=text)
    alike: dict[str, str] = {}
    for name in names:
        if not name.endswith(".toml"):
            text = "is ignored, as its name does not end in .toml; rename it"
            yield Remark(severity="warning", file=name, key="", text=text)
        if twin := alike.get(name.lower()):
            text = f"differs from {twin} only in case, and so do the merchants; rename or remove one"
            yield Remark(severity="problem", file=name, key="", text=text)
        alike[name.lower()] = name


def _of_key(merchant: Merchant) -> Iterator[Remark]:
    source = merchant.file.api.api_key
    if find_key(source) is None:
        text = f"{_place(source)} has no usable key, so the merchant would be paused; set the key there"
        yield Remark(severity="warning", file=f"{merchant.name}.toml", key="api.api_key", text=text)


def _of_times(merchant: Merchant) -> Iterator[Remark]:
    if text := short_quiet_time(merchant):
        yield Remark(severity="warning", file=f"{merchant.name}.toml", key="retry.quiet_seconds", text=text)


def _of_replicas(merchants: Iterable[Merchant]) -> Iterator[Remark]:
    """How long an old primary may continue to permit calls while a replica takes over, if the server reports it."""
    tightest = min(merchants, key=_spare_s, default=None)
    if not tightest or not (guard := _guard()):
        return
    replicas, lag_s = guard
    # Either of them at 0 switches the guard off.
    if replicas and lag_s and lag_s <= _spare_s(tightest):
        return
    most = int(_spare_s(tightest))
    room = f"retry.quiet_seconds less api.timeout_s of {tightest.name}.toml"
    limit = f"to at most {most} ({room})" if most else f"below {room}, which must first be raised above 1 s"
    text = (
        "during a failover, a primary that is cut off may still permit calls, and shipments be "
        f"allocated twice; set min-replicas-to-write to at least 1 and min-replicas-max-lag {limit}"
    )
    yield Remark(severity="warning", file=ENVIRONMENT, key="ALLOCATION_REDIS_URL", text=text)


def _spare_s(merchant: Merchant) -> float:
    """What is left of a quiet time after the longest call."""
    return max(0.0, merchant.file.retry.quiet_s - merchant.file.api.timeout_s)


def _guard() -> tuple[int, int] | None:
    """How many replicas must follow for a write, and how closely; None without replicas, or if unknown."""
    try:
        return asyncio.run(connected(load(), _ask_for_guard))
    except (SettingsError, FormatError, RedisError, OSError, ValueError):
        return None


async def _ask_for_guard(store: Store, _: Settings) -> tuple[int, int] | None:
    async with asyncio.timeout(_PATIENCE_S):
        if not int((await store.redis.info("replication")).get("connected_slaves", 0)):
            return None
        found = await store.redis.config_get("min-replicas-*")
    return int(found.get("min-replicas-to-write") or 0), int(found.get("min-replicas-max-lag") or 0)


def _place(source: KeyFromEnv | KeyFromFile) -> str:
    """Where a key is looked up. What does not look like a path may be the key itself and is not repeated."""
    match source:
        case KeyFromEnv(env=name):
            return f"the environment variable {name}"
        case KeyFromFile(file=path) if "/" in path:
            return f"the file {path}"
        case KeyFromFile():
            return "the file that `file` names (is that a path, such as /run/secrets/acme?)"


def _steps(choice: Choice) -> list[str]:
    return [str(step) for step in (choice.strategy, *choice.fallback)]


def _print(merchants: Iterable[Merchant], remarks: list[Remark]) -> None:
    rows = table("merchant", "api", "~steps when no rule matches", "~rules")
    for merchant in merchants:
        rules = ", ".join(rule.name for rule in merchant.file.rules)
        steps = ", then ".join(_steps(merchant.file.allocation))
        rows.add_row(cell(merchant.name), cell(merchant.file.api.flavour), cell(steps), cell(rules or None))
    if rows.row_count:
        print_table(rows)
    for remark in remarks:
        say(str(remark), fg=_COLOURS[remark.severity])
    found = sum(remark.severity == "problem" for remark in remarks)
    say(f"{count(rows.row_count, 'merchant')} valid, {count(found, 'problem')}", bold=True)


def _document(merchants: Iterable[Merchant], remarks: list[Remark]) -> dict[str, Any]:
    return {
        "merchants": [
            {
                "merchant": merchant.name,
                "api": merchant.file.api.flavour,
                "steps": _steps(merchant.file.allocation),
                "rules": [{"name": rule.name, "steps": _steps(rule)} for rule in merchant.file.rules],
            }
            for merchant in merchants
        ],
        **{
            f"{severity}s": [{"file": r.file, "key": r.key, "text": r.text} for r in remarks if r.severity == severity]
            for severity in get_args(Severity)
        },
    }
