"""What counting for metrics and pages costs an order: the server's time and commands, and the worker's own time."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from config.settings import Settings
from tasks.rules.portions import portions
from tasks.work.ports import Report
from tests.perf.bench.filled_ledger import Content, Filler
from tests.perf.bench.index_cost import Spent, spent, spent_in_turn
from tests.perf.bench.rig import BenchError
from worker.ledger.arguments import ReportArgs, ReportRow
from worker.ledger.counters import counted
from worker.ledger.ledger import Ledger
from worker.ledger.scripts import ACCEPT, REPORT
from worker.redis_client.store import Script, Store
from worker.streams.orders import Entry

_COUNTING_CODE = re.compile(
    r"^-- For metrics\. .*?^end\n|^ *if not counted\[.*?\n|^ *counted\[.*?\n|^count_all\(.*?\n|^count_recent\(.*?\n",
    re.MULTILINE | re.DOTALL,
)
_PARTS_OF_COUNTING = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class CountingCost:
    """The accept and the report scripts for one allocated order, with counting and without: µs, and commands.

    `at_once`: the orders of one script. `worker_us`: the time in the worker's process, of preparing what is counted.
    """

    at_once: int
    orders: int
    with_us: float
    without_us: float
    with_commands: float
    without_commands: float
    worker_us: float

    @property
    def cost_us(self) -> float:
        """What counting adds to an order, in µs of CPU."""
        return self.with_us - self.without_us + self.worker_us


def without_counting(text: str) -> str:
    """The accept script without the lines that count. Raises BenchError if it has none."""
    found, removed = _COUNTING_CODE.subn("", text)
    if removed != _PARTS_OF_COUNTING:
        raise BenchError("accept.lua counts in another way than this measurement knows")
    return found


def nothing_counted(args: Sequence[Any]) -> list[Any]:
    """The arguments of the report script, of which no row counts anything."""
    first, row = len(ReportArgs._fields), len(ReportRow._fields)
    last = ReportRow._fields.index("counted")
    return ["" if i >= first and (i - first) % row == last else each for i, each in enumerate(args)]


class _AcceptWithoutCounting:
    @cached_property
    def text(self) -> str:
        return without_counting(ACCEPT.text)


_ACCEPT_WITHOUT_COUNTING = _AcceptWithoutCounting()


class _StoreWithoutCounting(Store):
    """Runs the shortened accept script, and reports that count nothing."""

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        if script is ACCEPT:
            return await super().run(_ACCEPT_WITHOUT_COUNTING, keys, args)
        return await super().run(script, keys, nothing_counted(args) if script is REPORT else args)


async def counting_cost(
    filler: Filler, settings: Settings, content: Content, orders: int, at_once: int
) -> CountingCost:
    """Accept and allocate orders with counting and without in turn, `at_once` in a script; `orders` of each kind."""
    ledgers = (Ledger(_StoreWithoutCounting(filler.store.redis), settings), Ledger(filler.store, settings))
    worker_s = 0.0

    async def handle(ledger: Ledger, entries: Sequence[Entry]) -> Spent:
        nonlocal worker_s
        server, reports = await _accept_and_report(filler, ledger, entries, at_once)
        worker_s += _counting_s(reports)
        return server

    without, counting = await spent_in_turn(filler, ledgers, content, orders, handle)
    return CountingCost(
        at_once=at_once,
        orders=orders,
        with_us=counting.us,
        without_us=without.us,
        with_commands=counting.commands,
        without_commands=without.commands,
        worker_us=round(worker_s / (2 * orders) * 1e6, 2),
    )


async def _accept_and_report(
    filler: Filler, ledger: Ledger, entries: Sequence[Entry], at_once: int
) -> tuple[Spent, list[Report]]:
    """What the server spends in both scripts, as it counts it; claiming is left out."""
    redis = filler.store.redis
    await redis.config_resetstat()
    for some in portions(entries, at_once):
        await filler.accept(some, ledger)
    accepting = await spent(redis)
    reports = await filler.claimed()
    await redis.config_resetstat()
    for leaving in portions(reports, at_once):
        if not all(await ledger.report_all(leaving)):
            raise BenchError("a report was not written")
    reporting = await spent(redis)
    return Spent(accepting.us + reporting.us, accepting.commands + reporting.commands), reports


def _counting_s(reports: Sequence[Report]) -> float:
    began = time.process_time()
    for report in reports:
        counted(report)
    return time.process_time() - began
