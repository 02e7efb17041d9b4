"""The last valid version of each merchant file, for processes that start while a file is invalid."""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.merchant_files.api import find_key
from config.merchant_files.merchant_file import Merchant
from config.merchant_files.reading import parse, read
from config.settings import Settings
from worker.ledger import keys
from worker.ledger.records import server_ms
from worker.redis_client.store import Redis

OLD_KEPT_S = 30 * 86_400
"""How long an earlier version is kept beyond ALLOCATION_KEEP_DAYS: unfinished shipments may name it until then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """A version of a merchant file. `since`: when it came into use, in seconds since the epoch."""

    version: str
    since: float
    text: str


async def read_stored(redis: Redis, merchants: Sequence[str]) -> dict[str, StoredFile]:
    """The last valid version of these merchants' files, as far as there is one."""
    found: Any = await redis.hmget(keys.MERCHANT_FILES, merchants) if merchants else []
    return {name: StoredFile(**json.loads(text)) for name, text in zip(merchants, found, strict=True) if text}


async def stored_versions(redis: Redis) -> dict[str, str]:
    """The stored version of every merchant."""
    found: Any = await redis.hgetall(keys.MERCHANT_VERSIONS)
    return {name.decode(): version.decode() for name, version in found.items()}


async def read_version(redis: Redis, merchant: str, version: str) -> StoredFile | None:
    """A version of a merchant's file, also an earlier one; None if it is no longer kept."""
    current: Any = await redis.hget(keys.MERCHANT_FILES, merchant)
    if current and (stored := StoredFile(**json.loads(current))).version == version:
        return stored
    found: Any = await redis.get(keys.merchant_file(version))
    return StoredFile(**json.loads(found)) if found else None


def text_to_store(merchant: Merchant, folder: Path, keys_in_use: Collection[str]) -> str | None:
    """The text of a merchant's file; None if it has changed since it was read, or if it may contain an API key.

    A file whose key is not found is not stored: the key may have been typed in place of the name of its variable.
    """
    try:
        raw = (folder / f"{merchant.name}.toml").read_bytes()
    except OSError:
        return None
    key = find_key(merchant.file.api.api_key)
    if hashlib.sha256(raw).hexdigest() != merchant.digest or not key:
        return None
    if any(each.encode() in raw for each in {key, *keys_in_use}):
        return None
    return raw.decode()


async def store_file(redis: Redis, settings: Settings, merchant: Merchant, text: str) -> None:
    """Keep the text of a valid file."""
    before: Any = await redis.hget(keys.MERCHANT_FILES, merchant.name)
    now = {"version": merchant.version, "since": await server_ms(redis) / 1000, "text": text}
    pipe = redis.pipeline(transaction=True)
    if before:
        kept_s = round(settings.keep_days * 86_400) + OLD_KEPT_S
        pipe.set(keys.merchant_file(json.loads(before)["version"]), before, ex=kept_s)
    pipe.hset(keys.MERCHANT_FILES, merchant.name, json.dumps(now))
    pipe.hset(keys.MERCHANT_VERSIONS, merchant.name, merchant.version)
    await pipe.execute()


async def usable_files(
    redis: Redis, settings: Settings, merchants: Collection[str] | None = None
) -> dict[str, Merchant]:
    """The valid merchant files, and the stored version of those that exist and are invalid.

    `merchants`: only theirs; None for all.
    """
    folder = settings.merchants_dir
    paths = folder.glob("*.toml") if merchants is None else (folder / f"{name}.toml" for name in merchants)
    found = {path.stem: read(path, settings.http_hosts) for path in paths if path.exists()}
    valid = {name: each for name, each in found.items() if isinstance(each, Merchant)}
    invalid = found.keys() - valid.keys()
    for name, stored in (await read_stored(redis, sorted(invalid))).items():
        if merchant := parse_stored(name, stored, settings):
            valid[name] = merchant
    return valid


def parse_stored(name: str, stored: StoredFile, settings: Settings) -> Merchant | None:
    """A stored version as a merchant; None if this process does not accept it."""
    found = parse(Path(f"{name}.toml"), stored.text.encode(), settings.http_hosts)
    return found if isinstance(found, Merchant) else None
