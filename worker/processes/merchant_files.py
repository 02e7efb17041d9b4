"""The merchant files in use: reread when they change; if a file becomes invalid, its last valid version is used."""

import hashlib
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

from config.merchant_files.api import find_key
from config.merchant_files.merchant_file import Merchant
from config.merchant_files.reading import Problem, read
from tasks.work.ports import Account
from worker.observability.heartbeat import FilesInUse

SCAN_EVERY_S = 1.0
SCAN_FOR_UNKNOWN_EVERY_S = 0.05

SETTLED_S = 0.05
"""A changed file is read once it has been unchanged for this long, so that no write is in progress."""

WRITTEN_WITHIN_S = 1.0
"""How long an order waits for a merchant's first file that is being written or is invalid."""

log = structlog.get_logger(__name__)


def _drop(*_: Any) -> Any:
    raise structlog.DropEvent


_SILENT = structlog.wrap_logger(None, processors=[_drop])

Stamp = tuple[int, ...]


class MerchantFiles:
    """Scans the folder at most once a second and reads only changed files."""

    def __init__(self, folder: Path, http_hosts: frozenset[str], *, logs: bool = True) -> None:
        """Reads nothing yet; a missing folder counts as empty. `logs`: whether changes are logged."""
        self._log = log if logs else _SILENT
        self.folder = folder
        self._http_hosts = http_hosts
        self._good: dict[str, Merchant] = {}
        self._stamps: dict[str, Stamp] = {}
        self._unfinished: dict[str, float] = {}
        """Files that are being written or are invalid, and since when."""
        self._looked_at = float("-inf")
        self._is_unreadable = False
        self.problems: dict[str, list[Problem]] = {}
        self._accounts: dict[str, Account] = {}
        self._changes = 0
        self._changed_at = time.monotonic()

    def get(self, name: str, since: float | None = None) -> Merchant | None:
        """The merchant's last valid file; None if there is none, or it was deleted.

        `since`: when the order was read (`time.monotonic`). The file may have been written just before the order was
        published, so a merchant counts as unknown only after a scan since then.
        """
        self._scan_if_due(SCAN_EVERY_S)
        if name not in self._good:
            self._scan_if_due(SCAN_FOR_UNKNOWN_EVERY_S if since is None else time.monotonic() - since)
        while name not in self._good and self._may_be_finished(f"{name}.toml"):
            time.sleep(SCAN_FOR_UNKNOWN_EVERY_S)
            self._scan_if_due(SCAN_FOR_UNKNOWN_EVERY_S)
        return self._good.get(name)

    def _may_be_finished(self, file: str) -> bool:
        return time.monotonic() - self._unfinished.get(file, float("-inf")) < WRITTEN_WITHIN_S

    def account(self, name: str) -> Account | None:
        """The merchant's current file and key; None without a valid file."""
        merchant = self.get(name)
        if merchant is None:
            return None
        key, known = find_key(merchant.file.api.api_key), self._accounts.get(name)
        if known is None or known.merchant is not merchant or known.key != key:
            known = self._accounts[name] = account_of(merchant, key)
        return known

    @property
    def changes(self) -> int:
        """Number of changes of the files in use."""
        self._scan_if_due(SCAN_EVERY_S)
        return self._changes

    def without_version(self) -> list[str]:
        """Merchants whose file is invalid and of which no valid version is in use."""
        return [name for file in self.problems if (name := Path(file).stem) not in self._good]

    def adopt(self, merchant: Merchant) -> None:
        """Use a version from the ledger while the file is invalid."""
        if merchant.name not in self._good and f"{merchant.name}.toml" in self.problems:
            self._good[merchant.name] = merchant
            self._changed()
            self._log.warning(
                "merchant_file_restored",
                merchant=merchant.name,
                version=merchant.version,
                next="the last valid version is used until the file is fixed",
            )

    def in_use(self) -> FilesInUse | None:
        """The state of the files, for the heartbeat; None before they are first needed."""
        if self._looked_at == float("-inf"):
            return None
        self._scan_if_due(SCAN_EVERY_S)
        digests = "".join(f"{name}={self._good[name].digest};" for name in sorted(self._good))
        return FilesInUse(
            digest=hashlib.sha256(digests.encode()).hexdigest()[:12],
            unchanged_s=time.monotonic() - self._changed_at,
            invalid=tuple(sorted(Path(name).stem for name in self.problems)),
        )

    def names(self) -> list[str]:
        """Every merchant that has a valid file, sorted."""
        self._scan_if_due(SCAN_EVERY_S)
        return sorted(self._good)

    def _scan_if_due(self, every_s: float) -> None:
        if time.monotonic() - self._looked_at < every_s:
            return
        self._looked_at = time.monotonic()
        found = self._scan()
        for deleted in self._stamps.keys() - found.keys():
            self._forget(deleted)
        self._unfinished = {name: since for name, since in self._unfinished.items() if name in found}
        changed = {name: stamp for name, stamp in found.items() if self._stamps.get(name) != stamp}
        if not changed:
            return
        time.sleep(SETTLED_S)
        later = self._scan()
        for name, stamp in changed.items():
            if later.get(name) == stamp and self._read(name, stamp):
                self._stamps[name] = stamp
            else:
                self._unfinished.setdefault(name, time.monotonic())

    def _scan(self) -> dict[str, Stamp]:
        try:
            with os.scandir(self.folder) as entries:
                found = {e.name: _stamp(e) for e in entries if e.name.endswith(".toml")}
        except OSError as error:
            if not self._is_unreadable:
                kept = "the last valid files stay in use"
                self._log.error("merchants_unreadable", folder=str(self.folder), error=error.strerror, next=kept)
            self._is_unreadable = True
            return dict(self._stamps)
        if self._is_unreadable:
            self._log.info("merchants_readable", folder=str(self.folder))
        self._is_unreadable = False
        return found

    def _read(self, name: str, stamp: Stamp) -> bool:
        """Read a file; returns False, without using it, if it changed meanwhile."""
        found = read(self.folder / name, self._http_hosts)
        if _stamp(self.folder / name) != stamp:
            return False
        match found:
            case Merchant() as merchant:
                self._good[merchant.name] = merchant
                self._changed()
                self.problems.pop(name, None)
                self._unfinished.pop(name, None)
            case problems:
                self.problems[name] = problems
                self._unfinished.setdefault(name, time.monotonic())
        return True

    def _changed(self) -> None:
        self._changes += 1
        self._changed_at = time.monotonic()

    def _forget(self, name: str) -> None:
        del self._stamps[name]
        self.problems.pop(name, None)
        self._accounts.pop(Path(name).stem, None)
        if self._good.pop(Path(name).stem, None):
            self._changed()
            self._log.warning(
                "merchant_file_deleted", file=name, next="its unfinished shipments wait until the file exists again"
            )


def account_of(merchant: Merchant, key: str | None) -> Account:
    """A merchant with its key."""
    digest = hashlib.sha256(f"{merchant.digest}:{key}".encode()).hexdigest()[:16]
    host = urlsplit(merchant.file.api.base_url).netloc
    api = f"{host}#{hashlib.sha256(f'{host}:{key}'.encode()).hexdigest()[:8]}"
    return Account(merchant=merchant, key=key, digest=digest, api=api)


def _stamp(entry: os.DirEntry[str] | Path) -> Stamp:
    """A value that changes when the file's content, permissions or inode change."""
    try:
        status = entry.stat()
    except OSError:
        return ()
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_mode)
