"""Runs a contender: its own server, the stub of the API, its processes."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import redis

from tests.perf.bench.contenders import Contender, Feed, Place, milliseconds
from tests.perf.bench.meters import cpu_s, machine_cpu_s, pss_mb, tree_cpu_s
from tests.perf.bench.peer_work import ORDERS, STREAM
from tests.perf.bench.processes import running_stub, started
from tests.perf.bench.stub import FALLS_BACK
from worker.lab.embedded_server import embedded_server

LONGEST_S = 180.0
"""How long anything may take before the run is abandoned."""

_LOOK_EVERY_S = 0.02
_CHECK_EVERY_S = 1.0
_PAGE = 5000
_BAD = ("shipments.allocation_failed", "orders.rejected")


class BenchError(Exception):
    """The run is invalid: a process exited, an order failed, or there is no progress; the text ends with the log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Seconds of CPU by role, and of the server, the stub, this process, and the whole machine.

    `calls`: how often the API was called; `at_s`: seconds of a clock.
    """

    at_s: float
    roles: Mapping[str, float]
    redis_s: float
    stub_s: float
    bench_s: float
    machine_s: float
    calls: int

    def __sub__(self, before: "Usage") -> "Usage":
        return Usage(
            at_s=self.at_s - before.at_s,
            roles={role: seconds - before.roles[role] for role, seconds in self.roles.items()},
            redis_s=self.redis_s - before.redis_s,
            stub_s=self.stub_s - before.stub_s,
            bench_s=self.bench_s - before.bench_s,
            machine_s=self.machine_s - before.machine_s,
            calls=self.calls - before.calls,
        )

    @property
    def cpu_s(self) -> float:
        """Over all of the contender's own processes."""
        return sum(self.roles.values())

    @property
    def others_percent(self) -> float:
        """The share of CPU used by unrelated processes."""
        others_s = self.machine_s - self.cpu_s - self.redis_s - self.stub_s - self.bench_s
        return max(0.0, others_s / self.at_s / (os.cpu_count() or 1) * 100)


@dataclass(frozen=True, kw_only=True, slots=True)
class Machinery:
    """What is running."""

    server: int
    stub: int
    roles: "Mapping[str, subprocess.Popen[bytes]]"
    log: Path


class Rig:
    """A running contender, observed from outside: orders, events, and resource usage."""

    def __init__(self, machinery: Machinery, place: Place, feed: Feed, one_in: int = 0) -> None:
        """No order is published yet. `one_in`: one of this many orders falls back; 0: none does."""
        self.redis = place.redis
        self.fed = 0
        self._machinery = machinery
        self._place = place
        self._feed = feed
        self._seen = b"0-0"
        self._one_in = one_in
        self._check_at = 0.0

    def feed(self, orders: int) -> dict[str, int]:
        """Publish new orders; returns the server's time in ms for each reference."""
        references = [self._reference(n) for n in range(self.fed, self.fed + orders)]
        self.fed += orders
        return self._feed(references)

    def _reference(self, number: int) -> str:
        falls_back = self._one_in and number % self._one_in == 0
        return f"{FALLS_BACK if falls_back else 'sp_'}{number:09d}"

    def settled(self) -> int:
        """The number of published allocated events."""
        return int(self.redis.xlen(STREAM))

    def wait_settled(self, total: int | None = None) -> None:
        """Wait until this many events are published; by default one per order. Raises BenchError."""
        self._wait(self.settled, self.fed if total is None else total, "orders came out")

    def taken(self) -> int:
        """How many order events intake has read and acknowledged."""
        (group,) = self.redis.xinfo_groups(ORDERS)
        return int(group["entries-read"]) - int(group["pending"])

    def wait_taken(self) -> None:
        """Wait until intake has every order event. Raises BenchError."""
        self._wait(self.taken, self.fed, "order events were taken")

    def _wait(self, count: Callable[[], int], wanted: int, what: str) -> None:
        deadline = time.monotonic() + LONGEST_S
        while (found := count()) < wanted:
            self._check(deadline, f"{found} of {wanted} {what}")
            time.sleep(_LOOK_EVERY_S)

    def commands(self) -> dict[str, int]:
        """How often each command was called on the server, except the one that reads this."""
        stats = self.redis.info("commandstats")
        return {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items() if name != "cmdstat_info"}

    def _check(self, deadline: float, progress: str) -> None:
        now = time.monotonic()
        if now < self._check_at:
            return
        self._check_at = now + _CHECK_EVERY_S
        ended = [role for role, process in self._machinery.roles.items() if process.poll() is not None]
        bad = [stream for stream in _BAD if self.redis.xlen(stream)]
        if ended or bad or now > deadline:
            log = self._machinery.log.read_text(errors="replace")[-4000:]
            raise BenchError(f"{progress}; ended: {ended}; not empty: {bad}\n{log}")

    def came_out(self) -> dict[str, int]:
        """The server's time in ms of each event since the last call, by reference."""
        out: dict[str, int] = {}
        while page := self._page():
            out |= page
        return out

    def next_out(self) -> dict[str, int]:
        """Like `came_out`, but waits for the first. Raises BenchError."""
        if not self.redis.xread({STREAM: self._seen}, count=1, block=round(LONGEST_S * 1000)):
            raise BenchError(f"nothing came out in {LONGEST_S} s")
        return self.came_out()

    def _page(self) -> dict[str, int]:
        entries: Any = self.redis.xrange(STREAM, min=b"(" + self._seen, count=_PAGE)
        self._seen = entries[-1][0] if entries else self._seen
        return {json.loads(fields[b"event"])["subject"]: milliseconds(entry) for entry, fields in entries}

    def usage(self) -> Usage:
        """CPU used since the start."""
        counts = httpx.get(f"{self._place.api_url}/_counts").json()
        return Usage(
            at_s=time.monotonic(),
            roles={role: tree_cpu_s(process.pid) for role, process in self._machinery.roles.items()},
            redis_s=cpu_s(self._machinery.server),
            stub_s=cpu_s(self._machinery.stub),
            bench_s=time.process_time(),
            machine_s=machine_cpu_s(),
            calls=counts["puts"] + counts["gets"],
        )

    def pss_mb(self) -> float:
        """Memory of the contender's own processes."""
        return pss_mb({process.pid for process in self._machinery.roles.values()})


@contextmanager
def rig(contender: Contender, api_ms: float) -> Iterator[Rig]:
    """A running contender that is ready for orders; stopped at the end of the context."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="allocation-bench-")))
        log = folder / "processes.log"
        server = stack.enter_context(embedded_server(folder / "redis"))
        stub, api_url = stack.enter_context(running_stub(api_ms, log))
        place = Place(
            redis=stack.enter_context(redis.Redis.from_url(server.url)),
            redis_url=server.url,
            broker_url=server.url.removesuffix("0") + "1",
            api_url=api_url,
            merchants=folder / "merchants",
        )
        place.merchants.mkdir()
        feed = stack.enter_context(contender.feeding(place))
        told = contender.environment(place)
        roles = {
            role: stack.enter_context(started(command, log, told)) for role, command in contender.commands().items()
        }
        assert server.process is not None
        machinery = Machinery(server=server.process.pid, stub=stub, roles=roles, log=log)
        running = Rig(machinery, place, feed, contender.one_in)
        running.feed(1)
        running.wait_settled()
        yield running
