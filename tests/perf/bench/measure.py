"""One contender at one API time: warmed up, then lone orders, then a burst."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.perf.bench.contenders import Contender, Ours
from tests.perf.bench.rig import Rig, Usage, rig
from tests.perf.bench.sizes import Sizes

_FIRST_BATCH = 20
_GROWTH = 4
_TELLING = 320
_FEWEST = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The result of one contender.

    CPU is user and system time for one order, in ms; latencies are from order to event: of lone orders on an
    idle system, and of a burst of all `orders` at once. `others_percent`: the share of CPU used by other processes
    during the burst.
    """

    system: str
    api_ms: float
    orders: int
    orders_per_s: float
    cpu_ms: float
    redis_cpu_ms: float
    stub_cpu_ms: float
    calls_per_order: float
    pss_mb: float
    others_percent: float
    lone_p50_ms: float
    lone_p99_ms: float
    burst_p50_ms: float
    burst_p99_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Burst:
    """A burst of orders. Times in ms: the server's clock, or from order to event."""

    orders: int
    orders_per_s: float
    usage: Usage
    latencies_ms: Sequence[int]

    @property
    def cpu_ms(self) -> float:
        """CPU for one order."""
        return self.usage.cpu_s / self.orders * 1000


def burst(running: Rig, orders: int) -> Burst:
    """Publish, wait for the last order, and return the measurements."""
    running.came_out()
    before = running.usage()
    came_in = running.feed(orders)
    running.wait_settled()
    usage = running.usage() - before
    came_out = running.came_out()
    return Burst(
        orders=orders,
        orders_per_s=rate(came_in, came_out),
        usage=usage,
        latencies_ms=sorted(came_out[reference] - at for reference, at in came_in.items()),
    )


def rate(came_in: Mapping[str, int], came_out: Mapping[str, int]) -> float:
    """Orders per second, counted from the end of publishing, which takes CPU from the workers.

    A contender that keeps up with the publisher is counted from the first one on.
    """
    last_in, last_out = max(came_in.values()), max(came_out.values())
    after = sum(at > last_in for at in came_out.values())
    if after * 4 >= len(came_in):
        return after / (last_out - last_in) * 1000
    return len(came_in) / max(1, last_out - min(came_in.values())) * 1000


def warm_up(running: Rig, at_least_s: float, most_orders: int) -> float:
    """Bursts of growing size until one lasts long enough (a small one twice as long); returns its orders per second."""
    # The first wakes processes, connections and pollers, and says nothing about speed.
    running.feed(_FIRST_BATCH)
    running.wait_settled()
    orders = _FIRST_BATCH
    while True:
        began = time.monotonic()
        running.feed(orders)
        running.wait_settled()
        took_s = time.monotonic() - began
        enough_s = at_least_s if orders >= _TELLING else 2 * at_least_s
        if took_s >= enough_s or orders * _GROWTH > most_orders:
            return orders / took_s
        orders *= _GROWTH


def lone_orders(running: Rig, orders: int) -> list[int]:
    """The time from order to event in ms, of orders that are published one after the other."""
    running.came_out()
    latencies = []
    for _ in range(orders):
        ((reference, came_in),) = running.feed(1).items()
        latencies.append(running.next_out()[reference] - came_in)
    return sorted(latencies)


def percentile(ordered: Sequence[int], share: float) -> int:
    """The smallest value that at least this share of them does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def steady(contender: Contender, api_ms: float, sizes: Sizes) -> Row:
    """All measurements of one contender at one API time."""
    lone = sizes.lone if isinstance(contender, Ours) else sizes.lone_peer
    with rig(contender, api_ms) as running:
        speed = warm_up(running, sizes.warm_s, sizes.most_orders)
        alone = lone_orders(running, lone)
        full = burst(running, max(_FEWEST, min(sizes.most_orders, round(speed * sizes.burst_s))))
        return _row(contender.name, api_ms, alone, full, running.pss_mb())


def _row(system: str, api_ms: float, alone: Sequence[int], full: Burst, memory_mb: float) -> Row:
    return Row(
        system=system,
        api_ms=api_ms,
        orders=full.orders,
        orders_per_s=round(full.orders_per_s, 1),
        cpu_ms=round(full.cpu_ms, 3),
        redis_cpu_ms=round(full.usage.redis_s / full.orders * 1000, 3),
        stub_cpu_ms=round(full.usage.stub_s / full.orders * 1000, 3),
        calls_per_order=round(full.usage.calls / full.orders, 3),
        pss_mb=round(memory_mb, 1),
        others_percent=round(full.usage.others_percent, 1),
        lone_p50_ms=percentile(alone, 0.5),
        lone_p99_ms=percentile(alone, 0.99),
        burst_p50_ms=percentile(full.latencies_ms, 0.5),
        burst_p99_ms=percentile(full.latencies_ms, 0.99),
    )
