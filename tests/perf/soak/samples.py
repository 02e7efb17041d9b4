"""Samples, taken every few seconds: memory and descriptors of processes, the server, the connections to the API."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tests.acceptance.system import System

LIVING = ("intake", "worker", "beat", "flower")
"""The processes that run from start to end."""

STREAMS = ("orders.created", "shipments.allocated", "shipments.allocation_failed", "orders.rejected")
_ESTABLISHED = "01"


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """One process at one time: memory in bytes (PSS divides shared memory), and open file descriptors."""

    rss: int
    pss: int
    fds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """All processes at one time. A child of the worker is named by its process id.

    `used` and `keys`: bytes and keys of the server; `clients`: its connections.
    """

    at_s: float
    settled: int
    processes: dict[str, Process]
    used: int
    keys: int
    clients: int
    streams: dict[str, int]
    api_connections: int


def take_sample(system: System, broker: "redis.Redis", at_s: float, settled: int) -> Sample:
    """Measure everything once."""
    server: dict[str, Any] = system.redis.info()
    return Sample(
        at_s=at_s,
        settled=settled,
        processes=dict(_processes(system)),
        used=int(server["used_memory"]),
        keys=int(system.redis.dbsize()) + int(broker.dbsize()),
        clients=int(server["connected_clients"]),
        streams={name: int(system.redis.xlen(name)) for name in STREAMS},
        api_connections=_connections_to(int(system.url.rpartition(":")[2])),
    )


def _processes(system: System) -> Iterator[tuple[str, Process]]:
    pids = {role: system.processes[role].pid for role in LIVING}
    pids |= {f"worker child {pid}": pid for pid in system.children("worker")}
    for name, pid in pids.items():
        try:
            yield name, _process(Path(f"/proc/{pid}"))
        except (FileNotFoundError, ProcessLookupError):
            continue  # It was killed a moment ago.


def _process(folder: Path) -> Process:
    lines = (folder / "smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    fds = len(os.listdir(folder / "fd"))  # noqa: PTH208  # one call, nothing is looked at
    return Process(rss=kilobytes["Rss"] * 1024, pss=kilobytes["Pss"] * 1024, fds=fds)


def _connections_to(port: int) -> int:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    ends = (line.split()[2:4] for line in lines)
    return sum(remote.endswith(f":{port:04X}") and state == _ESTABLISHED for remote, state in ends)
