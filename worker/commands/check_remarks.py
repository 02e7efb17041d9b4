"""What `allocation check` remarks on settings, merchant files and the server."""

import asyncio
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from config.merchant_files.api import KeyFromEnv, KeyFromFile, find_key
from config.merchant_files.merchant_file import Merchant, short_quiet_time
from config.merchant_files.reading import Problem
from config.settings import FormatError, Settings, SettingsError
from config.unknown_settings import NOT_A_SETTING, unknown_names
from worker.commands.session import connected
from worker.processes.environment import load
from worker.redis_client.store import RedisError, Store

Severity = Literal["problem", "warning", "note"]
_ENVIRONMENT = "environment"
_REDIS_UNSET = "ALLOCATION_REDIS_URL: is not set"
_PATIENCE_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Remark:
    """A problem, a warning or a note, and what to do about it."""

    severity: Severity
    file: str
    key: str
    text: str

    def __str__(self) -> str:
        """`problem: acme.toml: api.base_url: ...`."""
        return ": ".join(part for part in (self.severity, self.file, self.key, self.text) if part)


def all_remarks(folder: Path, merchants: Collection[Merchant], problems: Iterable[Problem]) -> Iterator[Remark]:
    """The remarks on the settings, on the merchant files of a folder, and on the server if it responds.

    `merchants`: the valid files; `problems`: those of the others.
    """
    yield from of_settings()
    yield from (Remark(severity="problem", file=each.file, key=each.key, text=each.text) for each in problems)
    yield from _of_folder(folder)
    for merchant in merchants:
        yield from (*_of_key(merchant), *_of_times(merchant))
    yield from _of_replicas(merchants)


def of_settings() -> Iterator[Remark]:
    """The problems and unknown names of the settings."""
    try:
        load()
    except SettingsError as error:
        for line in str(error).splitlines():
            key, _, text = line.partition(": ")
            # Files can be checked where no server is at hand.
            severity: Severity = "note" if line.startswith(_REDIS_UNSET) else "problem"
            yield Remark(severity=severity, file=_ENVIRONMENT, key=key, text=text)
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


def _place(source: KeyFromEnv | KeyFromFile) -> str:
    """Where a key is looked up. What does not look like a path may be the key itself and is not repeated."""
    match source:
        case KeyFromEnv(env=name):
            return f"the environment variable {name}"
        case KeyFromFile(file=path) if "/" in path:
            return f"the file {path}"
        case KeyFromFile():
            return "the file that `file` names (is that a path, such as /run/secrets/acme?)"


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
    yield Remark(severity="warning", file=_ENVIRONMENT, key="ALLOCATION_REDIS_URL", text=text)


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
