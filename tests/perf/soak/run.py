"""Orders at a steady rate through an API with faults, while processes are killed and replaced."""

import contextlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import httpx
import redis

from tests.acceptance.system import System, order_event, wait_until
from tests.perf.chaos.run import write_merchants
from tests.perf.soak.samples import LIVING, Sample, take_sample
from worker.lab.embedded_server import free_port

TICK_S = 0.1
SETTLE_TIMEOUT_S = 120.0
REPLACED = ("intake:2", "worker:2", "beat:2")
"""A second process of each role, replaced in turn, so that the first ones grow old."""

KILL_SHARE, TERMINATION_SHARE = 1 / 12, 1 / 6
"""The shares of a run after which a child is killed and a process replaced; processes of a longer run grow older."""

KILL_LEAST_S, TERMINATION_LEAST_S = 4.0, 5.0
"""The minimum time between two of them."""

ENVIRONMENT = {
    # A minute: expiry and trimming begin within the shortest run that says anything.
    "ALLOCATION_KEEP_DAYS": "0.0007",
    "ALLOCATION_TRIM_ORDERS": "true",
    "ALLOCATION_CONCURRENCY": "2",
    "FLOWER_MAX_TASKS": "1000",
}

FAULTS: list[dict[str, Any]] = [
    {"fault": "status", "share": 0.01},
    {"fault": "status", "share": 0.005, "acts": True},
    {"fault": "drop", "share": 0.005},
    {"fault": "drop", "share": 0.005, "acts": True},
    {"fault": "throttled", "share": 0.002, "retry_after_s": 1},
    {"fault": "slow", "share": 0.002, "latency_s": 1},
    # Slower than a call may be with such a lease.
    {"fault": "slow", "share": 0.002, "latency_s": 4, "acts": True},
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Soaked:
    """The result of a run: number of orders, figures that must be zero, and samples."""

    orders: int
    seconds: float
    figures: dict[str, int]
    samples: list[Sample]


class Soak:
    """One run; a single loop of short ticks."""

    def __init__(self, system: System, rate: float, seconds: float) -> None:
        """`rate`: orders a second, for `seconds`."""
        self._system = system
        self._rate = rate
        self._seconds = seconds
        self._sample_every_s = min(5.0, seconds / 20)
        self._broker = redis.Redis(port=system.server.port, db=1)
        self._merchants = write_merchants(system)
        self._published: list[tuple[str, str]] = []
        self._read_to = {"shipments.allocated": "0", "shipments.allocation_failed": "0"}
        self._seen: dict[str, Counter[tuple[str, str]]] = {name: Counter() for name in self._read_to}
        self._samples: list[Sample] = []
        self._began = 0.0

    def run(self) -> Soaked:
        """Start everything, publish to the end, wait for the last order."""
        self._system.environment |= {"ALLOCATION_FLOWER_PORT": str(free_port())}
        self._system.start(*LIVING, *REPLACED)
        self._system.faults(*({**fault, "times_each": 2} for fault in FAULTS))
        wait_until(lambda: len(self._system.children("worker")) >= 2, 30, "the worker's children")
        self._began = time.monotonic()
        faults = self._faults()
        while self._now() < self._seconds:
            self._tick()
            next(faults)
        self._system.faults()
        wait_until(self._all_settled, SETTLE_TIMEOUT_S, "everything settled")
        self._broker.close()
        return Soaked(orders=len(self._published), seconds=self._now(), figures=self._figures(), samples=self._samples)

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _tick(self) -> None:
        wanted = int(self._rate * self._now())
        new = [(self._merchants[n % len(self._merchants)], f"sp_{n:08d}") for n in range(len(self._published), wanted)]
        self._system.publish(order_event(merchant, [reference]) for merchant, reference in new)
        self._published += new
        self._read()
        if self._now() >= len(self._samples) * self._sample_every_s:
            self._samples.append(take_sample(self._system, self._broker, self._now(), self._settled()))
        time.sleep(TICK_S)  # the rate's own clock

    def _read(self) -> None:
        """Read the output streams as a consumer would, before they are trimmed."""
        for stream, seen in self._seen.items():
            entries: Any = self._system.redis.xrange(stream, min=f"({self._read_to[stream]}", count=5000)
            for stream_id, entry in entries:
                data = json.loads(entry["event"])["data"]
                seen[data["merchant"], data["shipment"]] += 1
                self._read_to[stream] = stream_id

    def _settled(self) -> int:
        return sum(len(seen) for seen in self._seen.values())

    def _all_settled(self) -> bool:
        self._read()
        return self._settled() >= len(self._published)

    def _faults(self) -> Iterator[None]:
        """Called at every tick: kill a child or replace a process, when due."""
        roles, workers = cycle(REPLACED), cycle(("worker", "worker:2"))
        kill_every_s = max(KILL_LEAST_S, self._seconds * KILL_SHARE)
        terminate_every_s = max(TERMINATION_LEAST_S, self._seconds * TERMINATION_SHARE)
        kill_at, terminate_at = kill_every_s, terminate_every_s
        while True:
            if self._now() > kill_at:
                kill_at += kill_every_s
                self._kill_youngest_child(next(workers))
            if self._now() > terminate_at:
                terminate_at += terminate_every_s
                self._system.processes[next(roles)].terminate()
            for role in REPLACED:
                if self._system.processes[role].poll() is not None:
                    self._system.start(role)
            yield

    def _kill_youngest_child(self, role: str) -> None:
        """`kill -9` of the youngest child, so that another one grows old."""
        children = self._system.children(role)
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(max(children), signal.SIGKILL)

    def _figures(self) -> dict[str, int]:
        counts = self._system.counts()
        allocated, failed = self._seen.values()
        states = [httpx.get(f"{self._system.url}/_sandbox/shipments/{name}").json()["state"] for _, name in failed]
        return {
            "lost": len(set(self._published) - allocated.keys() - failed.keys()),
            "allocated twice": len(counts["allocated_twice"]),
            "blind repeats": len(counts["blind_repeats"]),
            "emitted twice": sum(count > 1 for count in (allocated + failed).values()),
            "failed though allocated": states.count("allocated"),
            "failed without cause": len(failed),
            "called too early": len(self._system.called_too_early(self._published)),
        }
