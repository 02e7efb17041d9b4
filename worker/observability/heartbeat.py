"""Heartbeats: to a file for the container's health check, to the ledger for `allocation status`."""

import contextlib
import json
import math
import os
import socket
import stat
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict

from worker.ledger import keys
from worker.ledger.records import server_ms
from worker.redis_client.store import TRANSIENT_ERRORS, Redis, Store

FRESH_S = 30.0
"""A heartbeat older than this counts as none."""

HEARTBEAT_EVERY_S = 5.0


_WRITTEN_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

_STARTED = time.monotonic()
"""Roughly the start of this process."""

log = structlog.get_logger(__name__)


def _folder() -> Path:
    """One folder per user, in the machine's folder for temporary files."""
    return Path(tempfile.gettempdir()) / f"allocation-{os.getuid()}"


class ForeignFolderError(Exception):
    """The heartbeat folder belongs to, or is writable by, another user."""


def _own_folder() -> Path:
    """The folder, if it is this user's alone: any user may create one of its name among the temporary files.

    Raises ForeignFolderError; OSError without a folder.
    """
    folder = _folder()
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & _WRITTEN_BY_OTHERS:
        raise ForeignFolderError(
            f"{folder} is not a folder of this user alone; remove it, or set TMPDIR to another place"
        )
    return folder


def touch_heartbeat_file(role: str) -> None:
    """Write the heartbeat file of this process; a full disk or a foreign folder is logged, not raised."""
    try:
        with contextlib.suppress(FileExistsError):
            _folder().mkdir(mode=0o700)
        (_own_folder() / f"{role}.{os.getpid()}").touch()
    except ForeignFolderError as error:
        _warn(str(error))
    except OSError:
        return


@cache
def _warn(error: str) -> None:
    log.warning("heartbeat_not_written", error=error, next="allocation health reports the process as not alive")


def remove_heartbeat_file(role: str) -> None:
    """Remove the heartbeat file of this process."""
    with contextlib.suppress(OSError, ForeignFolderError):
        (_own_folder() / f"{role}.{os.getpid()}").unlink(missing_ok=True)


def is_alive(role: str) -> bool:
    """Whether a process of this role on this machine has a fresh heartbeat; removes files of dead processes.

    Raises ForeignFolderError when the folder cannot be trusted.
    """
    try:
        ages = {path: _age_s(path) for path in _own_folder().glob(f"{role}.*")}
    except FileNotFoundError:
        return False
    for path, age_s in ages.items():
        if age_s > 20 * FRESH_S:
            path.unlink(missing_ok=True)
    return any(age_s < FRESH_S for age_s in ages.values())


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        # Its process has just ended.
        return math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class FilesInUse:
    """The merchant files of a process: their digest, for how many seconds they are unchanged, the invalid ones."""

    digest: str
    unchanged_s: float
    invalid: tuple[str, ...] = ()


class ReportedFiles(BaseModel):
    """The merchant files of a process, in its heartbeat."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    digest: str
    """The digest of all files in use."""
    since: int
    """Since when they are unchanged, in seconds since the epoch."""
    invalid: tuple[str, ...] = ()
    """The names of invalid files."""


class Heartbeat(BaseModel):
    """The heartbeat of a process."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    at: int
    """When it was sent, in seconds since the epoch."""
    position: Any = None
    """How far the process has come; its form depends on the role."""
    version: str | None = None
    """The version of this package that the process runs."""
    started: int | None = None
    """When the process started, in seconds since the epoch."""
    files: ReportedFiles | None = None
    """Its merchant files; None if it has not needed them yet."""


async def publish_heartbeat(store: Store, role: str, pid: int, position: Any, files: FilesInUse | None = None) -> None:
    """Write the heartbeat of a process to the ledger. `position`: how far it has come, any JSON value."""
    at = await server_ms(store.redis) // 1000
    beat = Heartbeat(
        at=at,
        position=position,
        version=version("allocation-worker"),
        started=at - round(time.monotonic() - _STARTED),
        files=None if files is None else _reported(files, at),
    )
    await store.redis.hset(keys.HEARTBEATS, _name(role, pid), beat.model_dump_json())


def _reported(files: FilesInUse, now: int) -> ReportedFiles:
    return ReportedFiles(digest=files.digest, since=now - round(files.unchanged_s), invalid=files.invalid)


async def withdraw_heartbeat(store: Store, role: str, pid: int) -> None:
    """Remove the heartbeat of a process that ends, so that its absence shows at once; an error is ignored."""
    with contextlib.suppress(*TRANSIENT_ERRORS):
        await store.redis.hdel(keys.HEARTBEATS, _name(role, pid))


def _name(role: str, pid: int) -> str:
    return f"{role}@{socket.gethostname()}:{pid}"


async def remove_stopped(redis: Redis) -> None:
    """Remove heartbeats of processes that ended long ago."""
    now = await server_ms(redis) // 1000
    found: Any = await redis.hgetall(keys.HEARTBEATS)
    gone = [name for name, text in found.items() if now - json.loads(text)["at"] > 20 * FRESH_S]
    if gone:
        await redis.hdel(keys.HEARTBEATS, *gone)


async def heartbeats(redis: Redis) -> dict[str, Heartbeat]:
    """Processes with a fresh heartbeat, by `role@host:pid`."""
    now = await server_ms(redis) // 1000
    found: Any = await redis.hgetall(keys.HEARTBEATS)
    beats = {name.decode(): Heartbeat.model_validate_json(text) for name, text in found.items()}
    return {name: beat for name, beat in beats.items() if now - beat.at <= FRESH_S}
