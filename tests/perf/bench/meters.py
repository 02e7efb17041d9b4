"""CPU and memory of processes, as reported by the kernel. Linux only."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SESSION = 3
_USER_SYSTEM_AND_REAPED = slice(11, 15)

AVAILABLE = (_PROC / "self/smaps_rollup").exists()
"""Whether this machine provides these figures."""


def _stat(pid: int | str) -> list[str]:
    """The fields of `/proc/PID/stat` after the name; none if the process has exited."""
    try:
        return (_PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _cpu_s(stat: list[str]) -> float:
    """User and system time, that of children which ended and were reaped included."""
    return sum(map(int, stat[_USER_SYSTEM_AND_REAPED])) / _TICKS_PER_S


def cpu_s(pid: int) -> float:
    """Seconds of CPU of one process since its start."""
    return _cpu_s(_stat(pid))


def tree_cpu_s(leader: int) -> float:
    """Seconds of CPU of a process that leads a session, and of everything it has started."""
    return sum(_cpu_s(stat) for _, stat in _tree({leader}))


def pss_mb(leaders: Collection[int]) -> float:
    """Memory of sessions in MB: what several processes share is counted once."""
    return sum(_pss_kb(pid) for pid, _ in _tree(leaders)) / 1024


def machine_cpu_s() -> float:
    """Seconds of CPU that this machine has used on all cores, steal time included."""
    user, nice, system, _idle, _waiting, *more = (_PROC / "stat").read_text().split(maxsplit=9)[1:9]
    return sum(map(int, (user, nice, system, *more))) / _TICKS_PER_S


def _tree(leaders: Collection[int]) -> Iterator[tuple[str, list[str]]]:
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and (stat := _stat(entry.name)) and int(stat[_SESSION]) in leaders:
            yield entry.name, stat


def _pss_kb(pid: str) -> int:
    try:
        lines = (_PROC / pid / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
