"""The version of the ledger's format; it changes when an older worker could not read what a newer one writes."""

import contextlib
import os
import signal
from typing import Any

import structlog

from config.settings import FormatError, Settings
from worker.ledger import keys
from worker.redis_client.safety import announce
from worker.redis_client.store import TRANSIENT_ERRORS, Redis, connect

FORMAT = 2
_NEWER = "the ledger has format {found}, this version knows {own}: start the newer version"
_OLDER = (
    "the ledger has format {found}, this version needs {own}: stop every intake, let the version that wrote it work "
    "until `allocation status` shows nothing due, parked or working, delete the keys allocation:*, start this version"
)
_TRACES = (keys.KNOWN_MERCHANTS, keys.MERCHANT_QUEUE)

log = structlog.get_logger(__name__)


async def check_format(redis: Redis, *, note: bool = True) -> None:
    """Raises FormatError for a ledger in another format. `note`: write ours to an empty ledger."""
    found = await redis.get(keys.FORMAT)
    if found is None and not await redis.exists(*_TRACES):
        if not note:
            return
        await redis.set(keys.FORMAT, FORMAT, nx=True)
        found = await redis.get(keys.FORMAT)
    number = _number(found)
    if number > FORMAT:
        raise FormatError(_NEWER.format(found=number, own=FORMAT))
    if number < FORMAT:
        raise FormatError(_OLDER.format(found=number, own=FORMAT))


def _number(found: Any) -> int:
    """0 without a number; an invalid number counts as a newer format."""
    text = "0" if found is None else found.decode(errors="replace")
    return int(text) if text.isdecimal() else FORMAT + 1


async def stop_if_other(redis: Redis, pid: int) -> None:
    """Stop a process by SIGTERM when a newer version has taken over the ledger."""
    try:
        await check_format(redis)
    except FormatError as error:
        log.critical("ledger_format_changed", error=str(error), next="ending")
        os.kill(pid, signal.SIGTERM)


async def introduce(settings: Settings) -> None:
    """Announce the server and check the format; for processes that connect later."""
    redis = connect(settings)
    try:
        await announce(redis, settings)
        with contextlib.suppress(*TRANSIENT_ERRORS):
            await check_format(redis)
    finally:
        await redis.aclose()
