"""What `allocation status` prints besides the problems: merchants and facts."""

from collections.abc import Iterable, Iterator

from rich.table import Table

from config.settings import Settings
from worker.commands.output import cell, table
from worker.observability.merchant_counts import MerchantCounts
from worker.observability.overview import Overview
from worker.observability.text import count, duration

Queues = dict[str, int] | str
"""How many messages wait in each queue of the broker, or why that is unknown."""


def merchants_table(merchants: Iterable[MerchantCounts]) -> Table:
    """A row per merchant."""
    rows = table("merchant", "#due", "#parked", "#working", "#allocated", "#failed", "#oldest due", "~stopped")
    for each in merchants:
        oldest = None if each.oldest_due_s is None else duration(each.oldest_due_s)
        numbers = (each.due, each.parked, each.working, each.allocated)
        failed = cell(each.failed, "red" if each.failed else "")
        stopped = f"on hold: {each.on_hold}" if each.on_hold else each.paused
        rows.add_row(cell(each.merchant), *map(cell, numbers), failed, cell(oldest), cell(stopped, "yellow"))
    return rows


def facts(overview: Overview, queues: Queues, settings: Settings) -> Iterator[tuple[str, str]]:
    """The lines below the table."""
    yield "server", overview.server
    yield "processes", ", ".join(sorted(overview.processes)) or "none has sent a heartbeat in the last 30 s"
    for slow in overview.slowed:
        yield "throttled", f"{slow.merchant}: 429 {duration(slow.throttled_s)} ago, window {slow.window}"
    yield "last sweep", "none yet" if overview.last_sweep_s is None else f"{duration(overview.last_sweep_s)} ago"
    unread = "an unknown number" if overview.orders.undelivered is None else overview.orders.undelivered
    reader = "" if overview.orders.has_group else "; no intake has run yet"
    yield settings.orders_stream, f"{unread} unread, {overview.orders.unacknowledged} pending{reader}"
    rejected = sum(each.events for each in overview.rejected)
    yield settings.rejected_stream, f"{count(rejected, 'event')} to deal with"
    yield "events of other types", str(overview.ignored)
    yield "queues", queues if isinstance(queues, str) else ", ".join(f"{q} {depth}" for q, depth in queues.items())
