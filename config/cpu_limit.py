"""How many cores this process may use: a container with two of a machine's sixty-four cores has two."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

_SELF = Path("/proc/self/cgroup")
_MOUNTED = Path("/sys/fs/cgroup")


def usable_cores(own: Path = _SELF, mounted: Path = _MOUNTED) -> int:
    """At least one, and no more than the process' affinity and the quotas of its cgroups (v1 or v2) allow.

    `own`: the file that names the process' cgroups; `mounted`: where they are mounted.
    """
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        allowed = os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(quota) for quota in _quotas(own, mounted))]))


def _quotas(own: Path, mounted: Path) -> Iterator[float]:
    """The core quotas of the cgroups above this process, as far as they are limited."""
    for line in _text(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for folder in _with_parents(mounted, path):
                yield from _quota(*_text(folder / "cpu.max").split())
        elif "cpu" in controllers.split(","):
            for folder in _with_parents(mounted / "cpu", path):
                yield from _quota(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _with_parents(root: Path, path: str) -> Iterator[Path]:
    """In a container the path may be the host's, of which only the root is visible."""
    folder = root / path.strip("/")
    while folder != root:
        yield folder
        folder = folder.parent
    yield root


def _quota(*values: str) -> Iterator[float]:
    """`max` and -1 mean no quota."""
    match [text.strip() for text in values]:
        case [quota, period] if quota.isdecimal() and period.isdecimal() and int(period):
            yield int(quota) / int(period)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
