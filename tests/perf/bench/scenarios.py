"""The measurements: the table of contenders, backlog, slow beat, many merchants, settings, idle, operators."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from tests.perf.bench.contenders import CONTENDERS, OURS
from tests.perf.bench.counting_cost import CountingCost, counting_cost
from tests.perf.bench.filled_ledger import FilledPlace, filling, place_to_fill
from tests.perf.bench.flow import LOADS, Flow, contenders, flow
from tests.perf.bench.index_cost import AcceptCost, Memory, accept_cost, memory, used_bytes
from tests.perf.bench.measure import Row, burst, steady, warm_up
from tests.perf.bench.operators import CommandTime, command_times, scrape_time
from tests.perf.bench.pages import PageTime, fill_for_pages, page_times
from tests.perf.bench.rig import Rig, rig
from tests.perf.bench.sizes import Sizes
from tests.perf.bench.stub_limit import StubLimit, stub_limits

SLOW_SWEEP_S = 60
_SLOW_API_MS = 200
_MAX_COMMANDS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheduled:
    """CPU per order (intake, worker, beat) with few and with many orders waiting; what intake uses besides."""

    few: int
    many: int
    few_cpu_ms: float
    many_cpu_ms: float
    intake_events_per_s: float
    allocated_meanwhile_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """Orders per second with the sweep at its default pace, and slow."""

    slow_s: int
    default_orders_per_s: float
    slow_orders_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MerchantFiles:
    """CPU per order when all are one merchant's, and when they are spread over many."""

    merchants: int
    orders: int
    one_cpu_ms: float
    many_cpu_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Saturation:
    """Orders per second of a burst against a slow API: of one merchant, of many, of many with a fifth falling back."""

    merchants: int
    one_per_s: float
    many_per_s: float
    falling_back_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Idle:
    """Idle usage of intake, worker and beat: share of one core, and Redis commands."""

    seconds: float
    cpu_percent: float
    cpu_percent_by_role: Mapping[str, float]
    commands_per_s: float
    commonest: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaled:
    """This project with another value of one setting: orders per second, CPU per order in ms, memory in MB."""

    setting: str
    value: int
    api_ms: int
    orders_per_s: float
    cpu_ms: float
    pss_mb: float


Part = (
    StubLimit
    | Row
    | Flow
    | Scheduled
    | Sweep
    | MerchantFiles
    | Saturation
    | Scaled
    | Idle
    | CommandTime
    | Memory
    | AcceptCost
    | CountingCost
    | PageTime
)

Systems = Collection[str]
"""Names of the contenders of the table."""


def say(text: str) -> None:
    """Print progress."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {text}\n")
    sys.stderr.flush()


def stub(sizes: Sizes, _systems: Systems) -> Iterator[Part]:
    """The limit of the stub."""
    say("the stub by itself")
    yield from stub_limits(sizes.stub_s)


def even_flow(sizes: Sizes, _systems: Systems) -> Iterator[Part]:
    """Each load for this project and for the peer, one right after the other."""
    for load in LOADS:
        for contender in contenders(load):
            say(f"{load}: {contender.name}")
            yield flow(contender, load, sizes.flow_s)


def table(api_ms: int, sizes: Sizes, systems: Systems) -> Iterator[Part]:
    """One row for each contender."""
    for name in sizes.contenders.get(api_ms, ()):
        if name in systems:
            say(f"API {api_ms} ms: {name}")
            yield steady(CONTENDERS[name], api_ms, sizes)


def waiting(sizes: Sizes, _systems: Systems) -> Iterator[Part]:
    """Few orders at a time, then a backlog, of which only a part is awaited."""
    say(f"{sizes.few_waiting} orders waiting, then {sizes.many_waiting}")
    with rig(OURS, 0) as running:
        warm_up(running, sizes.warm_s, sizes.most_orders)
        rounds = [burst(running, sizes.few_waiting) for _ in range(sizes.few_rounds)]
        few_cpu_ms = sum(each.cpu_ms for each in rounds) / len(rounds)
        yield _many_waiting(running, sizes, few_cpu_ms)


def _many_waiting(running: Rig, sizes: Sizes, few_cpu_ms: float) -> Scheduled:
    before = running.usage()
    running.feed(sizes.many_waiting)
    taken, settled, began = running.taken(), running.settled(), time.monotonic()
    running.wait_taken()
    took_s = time.monotonic() - began
    # What intake spends on an order it has spent by now, and the others spend theirs later: counted one by one.
    intake_s = (running.usage() - before).roles["intake"] / sizes.many_waiting
    now_settled = running.settled()
    return Scheduled(
        few=sizes.few_waiting,
        many=running.fed - now_settled,
        few_cpu_ms=round(few_cpu_ms, 3),
        many_cpu_ms=round((intake_s + _work_s(running, sizes.few_waiting * sizes.few_rounds)) * 1000, 3),
        intake_events_per_s=round((running.fed - taken) / took_s),
        allocated_meanwhile_per_s=round((now_settled - settled) / took_s),
    )


def _work_s(running: Rig, orders: int) -> float:
    """CPU per order, over about the next `orders` of those that intake has accepted."""
    before, settled = running.usage(), running.settled()
    running.wait_settled(settled + orders)
    return (running.usage() - before).cpu_s / (running.settled() - settled)


def sweep(sizes: Sizes, _systems: Systems) -> Iterator[Part]:
    """The same steady state at both sweep intervals."""
    yield Sweep(
        slow_s=SLOW_SWEEP_S,
        default_orders_per_s=_swept({}, sizes),
        slow_orders_per_s=_swept({"ALLOCATION_SWEEP_SECONDS": str(SLOW_SWEEP_S)}, sizes),
    )


def _swept(settings: Mapping[str, str], sizes: Sizes) -> float:
    say(f"API {_SLOW_API_MS} ms, {settings or 'the default sweep'}")
    with rig(replace(OURS, settings=settings), _SLOW_API_MS) as running:
        warm_up(running, sizes.warm_s, sizes.most_orders)
        return round(burst(running, sizes.sweep_orders).orders_per_s, 1)


def merchants(sizes: Sizes, _systems: Systems) -> Iterator[Part]:
    """The same orders of one merchant and of many."""
    for orders in sizes.merchant_orders:
        yield MerchantFiles(
            merchants=sizes.merchants,
            orders=orders,
            one_cpu_ms=round(_spread_over(1, orders, sizes), 3),
            many_cpu_ms=round(_spread_over(sizes.merchants, orders, sizes), 3),
        )


def _spread_over(merchants: int, orders: int, sizes: Sizes) -> float:
    """CPU for one order in ms; the warm-up has an order of every merchant, so that each file has been read."""
    say(f"{orders} orders over {merchants} merchants")
    with rig(replace(OURS, merchants=merchants), 0) as running:
        for _ in range(2):
            burst(running, sizes.merchants)
        return burst(running, orders).cpu_ms


def saturation(sizes: Sizes, _systems: Systems) -> Iterator[Part]:
    """A burst up to the capacity, over one merchant and over many."""
    yield Saturation(
        merchants=sizes.merchants,
        one_per_s=_saturated(1, 0, sizes),
        many_per_s=_saturated(sizes.merchants, 0, sizes),
        falling_back_per_s=_saturated(sizes.merchants, 5, sizes),
    )


def _saturated(merchants: int, one_in: int, sizes: Sizes) -> float:
    say(f"API {_SLOW_API_MS} ms, a burst over {merchants} merchants{', a fifth falls back' * (one_in > 0)}")
    with rig(replace(OURS, merchants=merchants, one_in=one_in), _SLOW_API_MS) as running:
        for _ in range(2):
            burst(running, sizes.merchants)
        return round(burst(running, sizes.sweep_orders).orders_per_s, 1)


def scaled(setting: str, api_ms: int, sizes: Sizes, _systems: Systems) -> Iterator[Part]:
    """The same burst with different values of a setting."""
    for value in sizes.scaled[setting]:
        say(f"API {api_ms} ms, {setting}={value}")
        with rig(replace(OURS, settings={setting: str(value)}), api_ms) as running:
            speed = warm_up(running, sizes.warm_s, sizes.most_orders)
            full = burst(running, round(speed * sizes.burst_s))
            yield Scaled(
                setting=setting,
                value=value,
                api_ms=api_ms,
                orders_per_s=round(full.orders_per_s, 1),
                cpu_ms=round(full.cpu_ms, 3),
                pss_mb=round(running.pss_mb(), 1),
            )


def idle(sizes: Sizes, _systems: Systems) -> Iterator[Part]:
    """Idle, after some work."""
    say(f"idle for {sizes.idle_s:g} s")
    with rig(OURS, 0) as running:
        warm_up(running, sizes.warm_s, sizes.few_waiting)
        time.sleep(sizes.calm_s)  # so that what follows work is not taken for idling
        before, commands = running.usage(), Counter(running.commands())
        time.sleep(sizes.idle_s)
        used, called = running.usage() - before, Counter(running.commands()) - commands
        yield Idle(
            seconds=sizes.idle_s,
            cpu_percent=round(used.cpu_s / sizes.idle_s * 100, 2),
            cpu_percent_by_role={role: round(s / sizes.idle_s * 100, 2) for role, s in used.roles.items()},
            commands_per_s=round(called.total() / sizes.idle_s, 1),
            commonest={name: round(n / sizes.idle_s, 1) for name, n in called.most_common(_MAX_COMMANDS)},
        )


def operators(sizes: Sizes, _systems: Systems) -> Iterator[Part]:
    """The operators' commands on a ledger with a history, what counting and its indexes cost, then Flower's pages."""
    with place_to_fill(sizes.history.merchants) as place:
        say(f"filling a ledger with {sizes.history.shipments} shipments")
        yield asyncio.run(_fill(sizes, place))
        say(f"the operators' commands, {sizes.command_runs} times")
        yield from command_times(sizes.history, sizes.command_runs, place.environment, place.log)
        yield scrape_time(sizes.history, sizes.command_runs, place.environment, place.log)
        for at_once in sizes.accepted_at_once:
            say(f"allocating {sizes.counted} orders with counting and without, {at_once} at once")
            yield asyncio.run(_counting_cost(sizes, place, at_once))
        for at_once in sizes.accepted_at_once:
            say(f"accepting {sizes.accepted} orders with the index and without, {at_once} at once")
            yield asyncio.run(_accept_cost(sizes, place, at_once))
    yield from _pages(sizes)


def _pages(sizes: Sizes) -> Iterator[Part]:
    content, rounds = sizes.failures, sizes.page_rounds
    with place_to_fill(content.merchants) as place:
        say(f"filling a ledger with {content.failed} failures")
        asyncio.run(fill_for_pages(content, place))
        say(f"a scrape and the pages of Flower, {rounds} times")
        yield scrape_time(content, rounds, place.environment, place.log)
        yield from page_times(content, rounds, place.environment, place.log)


async def _fill(sizes: Sizes, place: FilledPlace) -> Memory:
    async with filling(place.settings) as filler:
        empty_bytes = await used_bytes(filler.store.redis)
        await filler.fill(sizes.history)
        return await memory(filler.store.redis, sizes.history, empty_bytes)


async def _counting_cost(sizes: Sizes, place: FilledPlace, at_once: int) -> CountingCost:
    async with filling(place.settings) as filler:
        return await counting_cost(filler, place.settings, sizes.history, sizes.counted, at_once)


async def _accept_cost(sizes: Sizes, place: FilledPlace, at_once: int) -> AcceptCost:
    async with filling(place.settings) as filler:
        return await accept_cost(filler, place.settings, sizes.history, sizes.accepted, at_once)


SCENARIOS: dict[str, Callable[[Sizes, Systems], Iterator[Part]]] = {
    "stub": stub,
    "flow": even_flow,
    "api-0": partial(table, 0),
    "api-50": partial(table, 50),
    "api-200": partial(table, 200),
    "waiting": waiting,
    "sweep": sweep,
    "merchants": merchants,
    "saturation": saturation,
    "children": partial(scaled, "ALLOCATION_CONCURRENCY", 200),
    "messages": partial(scaled, "ALLOCATION_BATCH", 0),
    "idle": idle,
    "operators": operators,
}
"""Each yields its results as soon as they are available."""
