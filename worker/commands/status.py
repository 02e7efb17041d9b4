"""`allocation status`: health and counts."""

import asyncio
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import click
from celery import Celery
from kombu.exceptions import OperationalError
from rich.table import Table

from config.celery_options import BATCHES, SWEEPS
from config.settings import Settings
from config.urls import server_address
from worker.commands.output import cell, count, example, length, print_json, print_table, say, table
from worker.commands.session import away, connected
from worker.dispatch.broker import configure, queue_depth
from worker.observability.overview import Counts, count_all
from worker.processes.environment import load
from worker.redis_client.store import RedisError, Store

SWEEPS_MISSED = 3
SWEEP_LATE_S = 30.0
LEASES_WAITED = 2
_BROKER_PATIENCE_S = 3

Queues = dict[str, int] | str
"""How many messages wait in each queue of the broker, or why that is unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """One reading; no `counts` when the server is unavailable."""

    counts: Counts | None
    queues: Queues
    problems: tuple[str, ...]


@click.command(epilog=example("allocation status --watch 2"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document per reading.")
@click.option("--watch", type=click.FloatRange(min=0.1), metavar="SECONDS", help="Repeat until Ctrl-C.")
def command(*, as_json: bool, watch: float | None) -> None:
    """Show health and the number of shipments per merchant and state.

    Due shipments can be claimed now, parked ones are scheduled for later, working ones are owned by a worker. Exit
    code 1: a problem was found. The output lists each: the server is unavailable, the last sweep is older than
    three intervals (at least 30 s), a process has no heartbeat, a breaker is open, a shipment has been due for two
    leases.
    """
    settings = load()
    while True:
        status = look(settings)
        if watch and not as_json:
            click.clear()
        _show(status, settings, as_json=as_json, indent=None if watch else 2)
        if watch is None or not _pause(watch):
            break
    sys.exit(1 if status.problems else 0)


def _pause(seconds: float) -> bool:
    """Wait; False when Ctrl-C ended it."""
    try:
        time.sleep(seconds)
    except KeyboardInterrupt:
        return False
    return True


def look(settings: Settings) -> Status:
    """Read server and broker; one that is unavailable is a problem, not an error."""
    queues = _look_at_broker(settings)
    try:
        counts = asyncio.run(connected(settings, _count))
    except (RedisError, OSError) as error:
        reason = away(settings, error)
        return Status(counts=None, queues=queues, problems=(reason,))
    return Status(counts=counts, queues=queues, problems=tuple(_problems(counts, queues, settings)))


async def _count(store: Store, settings: Settings) -> Counts:
    return await count_all(store.redis, settings)


def _look_at_broker(settings: Settings) -> Queues:
    app = configure(Celery("allocation"), settings)
    try:
        with app.connection_for_read() as connection:
            # The default retries forever.
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=_BROKER_PATIENCE_S)
            return {queue: queue_depth(connection, queue) for queue in (BATCHES, SWEEPS)}
    except (OperationalError, OSError) as error:
        return f"no response from {server_address(settings.broker)}: {error}"


def _problems(counts: Counts, queues: Queues, settings: Settings) -> Iterator[str]:
    """The problems, and what to check."""
    if isinstance(queues, str):
        yield f"broker: {queues}; no claim loop starts until it is back"
    late_s = max(SWEEPS_MISSED * settings.sweep_seconds, SWEEP_LATE_S)
    if counts.last_sweep_s is None:
        yield "no sweep has run yet; are worker and beat running?"
    elif counts.last_sweep_s > late_s:
        yield f"the last sweep was {length(counts.last_sweep_s)} ago; are worker and beat running?"
    for role in ("intake", "worker"):
        if not any(name.startswith(f"{role}@") for name in counts.processes):
            yield f"no {role} has sent a heartbeat in the last 30 s; is one running?"
    for breaker in counts.breakers:
        yield f"{breaker.api}: circuit breaker open; next probe in {length(breaker.probe_in_s)}"
    for merchant in counts.merchants:
        if (merchant.oldest_due_s or 0) > LEASES_WAITED * settings.lease_seconds:
            waited = length(merchant.oldest_due_s or 0)
            yield f"{merchant.merchant}: a shipment has been due for {waited}; are there enough workers?"


def _show(status: Status, settings: Settings, *, as_json: bool, indent: int | None) -> None:
    if as_json:
        print_json(_document(status), indent=indent)
        return
    if status.counts:
        print_table(_merchants(status.counts))
        for name, value in _facts(status.counts, status.queues, settings):
            say(f"{name}: {value}")
    for problem in status.problems:
        say(f"problem: {problem}", fg="red")


def _merchants(counts: Counts) -> Table:
    rows = table("merchant", "#due", "#parked", "#working", "#allocated", "#failed", "#oldest due", "~paused")
    for each in counts.merchants:
        oldest = None if each.oldest_due_s is None else length(each.oldest_due_s)
        numbers = (each.due, each.parked, each.working, each.allocated)
        failed = cell(each.failed, "red" if each.failed else "")
        rows.add_row(cell(each.merchant), *map(cell, numbers), failed, cell(oldest), cell(each.paused, "yellow"))
    return rows


def _facts(counts: Counts, queues: Queues, settings: Settings) -> Iterator[tuple[str, str]]:
    """The lines below the table."""
    yield "server", counts.server
    for warning in counts.unsafe:
        yield "warning", warning
    yield "processes", ", ".join(sorted(counts.processes)) or "none has sent a heartbeat in the last 30 s"
    for slow in counts.slowed:
        yield "throttled", f"{slow.merchant}: 429 {length(slow.throttled_s)} ago, window {slow.window}"
    yield "last sweep", "none yet" if counts.last_sweep_s is None else f"{length(counts.last_sweep_s)} ago"
    unread = "an unknown number" if counts.orders.undelivered is None else counts.orders.undelivered
    reader = "" if counts.orders.has_group else "; no intake has run yet"
    yield settings.orders_stream, f"{unread} unread, {counts.orders.unacknowledged} pending{reader}"
    yield settings.rejected_stream, count(counts.rejected, "event")
    yield "events of other types", str(counts.ignored)
    if counts.lost_orders:
        yield (
            "events lost",
            f"{counts.lost_orders} were trimmed or deleted before they were read; see orders_lost in the log",
        )
    yield "queues", queues if isinstance(queues, str) else ", ".join(f"{q} {depth}" for q, depth in queues.items())


def _document(status: Status) -> dict[str, Any]:
    known = isinstance(status.queues, dict)
    return {
        "healthy": not status.problems,
        "problems": status.problems,
        **(asdict(status.counts) if status.counts else {}),
        "queues": status.queues if known else None,
    }
