"""Goals: pure functions from measurements to goals that are met or missed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from tests.perf.bench.contenders import CELERY_PREFORK, CELERY_THREADS, FLOOR, OURS, OURS_MANY, TASKIQ
from tests.perf.bench.counting_cost import CountingCost
from tests.perf.bench.flow import Flow, Load
from tests.perf.bench.index_cost import AcceptCost, Memory
from tests.perf.bench.measure import Row
from tests.perf.bench.operators import CommandTime
from tests.perf.bench.pages import PageTime
from tests.perf.bench.scenarios import Idle, MerchantFiles, Part, Saturation, Scaled, Scheduled, Sweep
from tests.perf.bench.stub_limit import StubLimit

_SLOW_API_MS = 200
_A_TRICKLE, _A_LOT = 20, 600

_ORDER_MS = {Load(per_s=200, merchants=1000): 3.62, Load(per_s=600, merchants=1000): 1.85}
"""CPU of an order in an even flow, processes and server, as in docs/performance.md: for runs without such a flow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """One figure and its limit."""

    name: str
    bound: Literal["at most", "at least"]
    limit: float
    value: float
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure is within its limit."""
        return self.value <= self.limit if self.bound == "at most" else self.value >= self.limit


def goals(parts: Sequence[Part]) -> list[Goal]:
    """Every goal with a measurement."""
    rows = [part for part in parts if isinstance(part, Row)]
    found = [*_flow([part for part in parts if isinstance(part, Flow)]), *_cpu(rows), *_slow_api(rows), *_lone(rows)]
    for part in parts:
        found += _of_part(part)
    counting = [part for part in parts if isinstance(part, CountingCost)]
    return [*found, *_counting(counting, [part for part in parts if isinstance(part, Flow)])]


def _at_most(name: str, limit: float, values: Iterable[float], unit: str = "") -> Iterator[Goal]:
    """The worst of the values; no goal without values."""
    if measured := list(values):
        yield Goal(name=name, bound="at most", limit=limit, value=round(max(measured), 3), unit=unit)


def _at_least(name: str, limit: float, values: Iterable[float], unit: str = "") -> Iterator[Goal]:
    if measured := list(values):
        yield Goal(name=name, bound="at least", limit=limit, value=round(min(measured), 3), unit=unit)


def _of(rows: Sequence[Row], system: str) -> list[Row]:
    return [row for row in rows if row.system == system]


def _pairs(rows: Sequence[Row], peer: str) -> Iterator[tuple[Row, Row]]:
    """The rows of this project and of a peer at the same API time."""
    for ours in _of(rows, OURS.name):
        yield from ((ours, theirs) for theirs in _of(rows, peer) if theirs.api_ms == ours.api_ms)


def _cpu(rows: Sequence[Row]) -> Iterator[Goal]:
    ours, many = _of(rows, OURS.name), _of(rows, OURS_MANY.name)
    shares = [mine.cpu_ms / theirs.cpu_ms for mine, theirs in _pairs(rows, CELERY_PREFORK.name)]
    yield from _at_most("CPU per order, one shipment a call", 0.6, (row.cpu_ms for row in ours), "ms")
    yield from _at_most("... as a share of Celery prefork's", 0.333, shares)
    yield from _at_most("CPU per order, v1 many", 0.15, (row.cpu_ms for row in many), "ms")
    for name, most, mine in (("one shipment a call", 1.7, ours), ("v1 many", 0.6, many)):
        floors = [a.cpu_ms / b.cpu_ms for a in mine for b in _of(rows, FLOOR.name) if a.api_ms == b.api_ms]
        yield from _at_most(f"CPU per order, {name}, as a multiple of the floor's", most, floors)


def _flow(flows: Sequence[Flow]) -> Iterator[Goal]:
    theirs = {each.load: each for each in flows if each.system == TASKIQ.name}
    for ours in (each for each in flows if each.system == OURS.name):
        most = 1.3 if ours.load.per_s <= _A_TRICKLE else 0.8 if ours.load.per_s >= _A_LOT else 1.0
        if ours.load in theirs:
            share = ours.whole_ms / theirs[ours.load].whole_ms
            yield from _at_most(f"{ours.load}: CPU of everything, as a share of taskiq's", most, [share])
        yield from _at_most(f"{ours.load}: above the API's time, median", 15, [ours.p50_ms], "ms")
        yield from _at_most(f"{ours.load}: above the API's time, 99th percentile", 60, [ours.p99_ms], "ms")


def _slow_api(rows: Sequence[Row]) -> Iterator[Goal]:
    slow = [row for row in rows if row.api_ms == _SLOW_API_MS]
    ours = _of(slow, OURS.name)
    times = [mine.orders_per_s / theirs.orders_per_s for mine, theirs in _pairs(slow, CELERY_THREADS.name)]
    yield from _at_least("API 200 ms: orders per second", 1500, (row.orders_per_s for row in ours))
    yield from _at_least("... as a multiple of Celery with 100 threads", 5, times)
    yield from _at_most("... memory (PSS)", 280, (row.pss_mb for row in ours), "MB")


def _lone(rows: Sequence[Row]) -> Iterator[Goal]:
    ours = _of(rows, OURS.name)
    name = "lone order, on top of the API's time"
    yield from _at_most(f"{name}: median", 25, (row.lone_p50_ms - row.api_ms for row in ours), "ms")
    yield from _at_most(f"{name}: 99th percentile", 100, (row.lone_p99_ms - row.api_ms for row in ours), "ms")


def _counting(costs: Sequence[CountingCost], flows: Sequence[Flow]) -> Iterator[Goal]:
    """The flow in which orders come one by one is the price of a lone order, the one with larger scripts of others."""
    a_few, many = _ORDER_MS
    measured = {each.load: each.whole_ms for each in flows if each.system == OURS.name}
    for cost in costs:
        load = a_few if cost.at_once == 1 else many
        source = "in this run" if load in measured else "in docs/performance.md"
        order_us = measured.get(load, _ORDER_MS[load]) * 1000
        name = f"counting, {cost.at_once} at once, as a share of an order's CPU at {load} {source}"
        yield from _at_most(name, 3, [cost.cost_us / order_us * 100], "%")


def _of_part(part: Part) -> Iterator[Goal]:
    match part:
        case Scheduled():
            name = f"CPU per order with {part.many:,} waiting, against {part.few:,}"
            yield from _at_most(name, 1.1, [part.many_cpu_ms / part.few_cpu_ms])
            yield from _at_least("intake beside allocation, events per second", 5000, [part.intake_events_per_s])
        case Sweep():
            name = f"orders per second with a sweep every {part.slow_s} s, against the default"
            yield from _at_least(name, 0.9, [part.slow_orders_per_s / part.default_orders_per_s])
        case MerchantFiles():
            name = f"CPU per order of {part.orders:,} over {part.merchants:,} merchants, against one"
            yield from _at_most(name, 1.2, [part.many_cpu_ms / part.one_cpu_ms])
        case Saturation():
            yield from _at_least(
                f"a burst over {part.merchants:,} merchants, orders per second against one merchant's",
                0.8,
                [part.many_per_s / part.one_per_s],
            )
            yield from _at_least("... with a fifth falling back", 0.6, [part.falling_back_per_s / part.one_per_s])
        case Idle():
            yield from _at_most("idle, share of one core", 0.7, [part.cpu_percent], "%")
            yield from _at_most("idle, Redis commands per second", 10, [part.commands_per_s])
        case CommandTime():
            name = f"allocation {part.command}, {part.shipments:,} shipments of {part.merchants:,} merchants: median"
            yield from _at_most(name, part.most_s, [part.median_s], "s")
        case PageTime():
            name = f"{part.page}, {part.failed:,} failures of {part.merchants:,} merchants: median"
            yield from _at_most(name, part.most_s, [part.median_s], "s")
        case Row() | Flow() | StubLimit() | Scaled() | Memory() | AcceptCost() | CountingCost():
            return
        case _:
            assert_never(part)
