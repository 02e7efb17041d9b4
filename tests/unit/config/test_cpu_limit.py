"""The number of cores of a process, from its cgroups."""

import os
from pathlib import Path

import pytest

from config.cpu_limit import usable_cores

ALL = len(os.sched_getaffinity(0))
V2 = "0::/system.slice/worker.service\n"
V1 = "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n"


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("", {}, ALL),
        (V2, {}, ALL),
        (V2, {"system.slice/worker.service/cpu.max": "max 100000\n"}, ALL),
        (V2, {"system.slice/worker.service/cpu.max": "50000 100000\n"}, 1),
        (V2, {"system.slice/cpu.max": "100000 100000\n"}, 1),
        (V2, {"cpu.max": "1000 100000\n"}, 1),
        (V2, {"cpu.max": f"{ALL * 100000 - 1} 100000\n"}, ALL),
        (V2, {"cpu.max": "99999999 100000\n"}, ALL),
        (V2, {"cpu.max": "nonsense"}, ALL),
        (V2, {"cpu.max": "100000 0\n"}, ALL),
        (V1, {"cpu/docker/abc/cpu.cfs_quota_us": "-1\n", "cpu/docker/abc/cpu.cfs_period_us": "100000\n"}, ALL),
        (V1, {"cpu/docker/abc/cpu.cfs_quota_us": "90000\n", "cpu/docker/abc/cpu.cfs_period_us": "100000\n"}, 1),
        (V1, {"cpu/cpu.cfs_quota_us": "90000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_quotas(tmp_path: Path, own: str, files: dict[str, str], expected: int) -> None:
    """The tightest quota of a cgroup or its parents counts, and a part of a core counts as one."""
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        file = tmp_path / "mounted" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert usable_cores(tmp_path / "own", tmp_path / "mounted") == expected


def test_affinity() -> None:
    """A process that is bound to one core has one."""
    everything = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(everything)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, everything)
