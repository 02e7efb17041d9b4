"""`allocation status`: health and counts."""

import asyncio
import sys
import time
from dataclasses import dataclass
from typing import get_args

import click
from celery import Celery

from config.settings import Settings
from config.urls import server_address
from worker.commands.example_lines import example
from worker.commands.nearest import no_such
from worker.commands.output import print_json, print_table, say
from worker.commands.output_schemas import StatusHead, status_document
from worker.commands.session import away, connected
from worker.commands.status_output import Queues, facts, merchants_table
from worker.dispatch.broker import configure, queue_depths
from worker.observability.merchant_counts import MerchantCounts
from worker.observability.overview import Overview, read_overview
from worker.observability.problems.find import find_problems
from worker.observability.problems.problem import SLUGS, Problem, Severity
from worker.observability.text import count
from worker.processes.environment import load
from worker.processes.known_files import known_files
from worker.redis_client.store import RedisError, Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """One reading; no `overview` when the server is unavailable."""

    overview: Overview | None
    queues: Queues
    problems: tuple[Problem, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What to show, and which problems count."""

    merchant: str | None
    everything: bool
    min_severity: Severity
    excluded: frozenset[str]

    def counts(self, problem: Problem) -> bool:
        """Whether the problem makes the exit code 1."""
        return problem.slug not in self.excluded and (problem.severity == "urgent" or self.min_severity == "attention")

    def shows(self, merchant: MerchantCounts) -> bool:
        """Whether the merchant has a row of its own."""
        if self.merchant:
            return merchant.merchant == self.merchant
        has_news = merchant.unfinished or merchant.failed or merchant.paused or merchant.on_hold
        return self.everything or bool(has_news)


@click.command(epilog=example("allocation status --watch 2", "allocation status --min-severity attention"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document per reading.")
@click.option("--watch", type=click.FloatRange(min=0.1), metavar="SECONDS", help="Repeat until Ctrl-C.")
@click.option("--merchant", metavar="M", help="Only this merchant, and the problems that concern it.")
@click.option("--all", "everything", is_flag=True, help="A row for every merchant, also for idle ones.")
@click.option(
    "--min-severity",
    type=click.Choice(get_args(Severity)),
    default="urgent",
    show_default=True,
    help="The lowest severity that makes the exit code 1.",
)
@click.option(
    "--except",
    "excluded",
    type=click.Choice(SLUGS),
    multiple=True,
    metavar="SLUG",
    help="Ignore this problem; repeatable.",
)
def command(  # one argument per option
    *,
    as_json: bool,
    watch: float | None,
    merchant: str | None,
    everything: bool,
    min_severity: Severity,
    excluded: tuple[str, ...],
) -> None:
    """Show health and the number of shipments per merchant and state.

    Due shipments can be claimed now, parked ones are scheduled for later, working ones are owned by a worker. Below are
    the problems, each with the command that helps. Exit code 1: there is an urgent problem.

    \b
    Urgent:
      redis_unavailable, broker_unavailable   the server does not respond, or refuses
      process_missing    no intake, worker or beat has sent a heartbeat in 30 s
      sweep_late         no sweep for three intervals, and at least 30 s
      due_late           a shipment has been due for two leases
      order_unread       an order has been unread for 60 s
      deadline_near      shipments past three quarters of the time to their deadline
      merchant_paused, key_missing            the API refuses the key, or there is none, and shipments wait
      file_invalid, file_missing              and shipments wait, or orders were rejected for it
      breaker_open       an API has failed for 60 s
      orders_lost        orders were trimmed or deleted before they were read
      memory_low         Redis uses 80 % of its maxmemory
    Attention:
      orders_rejected, shipments_failed       to deal with (`replay` or `dismiss`)
      merchant_on_hold   stopped with `allocation hold`
      versions_differ, files_differ           between processes, for five minutes
      redis_unsafe       a setting of the server risks shipments
      settings_warnings  accepted, but `allocation check` warns of them
      and those above while nothing waits because of them; file_missing of a merchant that never had a file
    """  # noqa: D301  # click's mark for a paragraph to keep as it is
    settings = load()
    selection = Selection(
        merchant=merchant, everything=everything, min_severity=min_severity, excluded=frozenset(excluded)
    )
    while True:
        status = look(settings)
        _check_merchant(status, merchant)
        if watch and not as_json:
            click.clear()
        problems = [problem for problem in status.problems if merchant is None or problem.concerns(merchant)]
        _show(status, problems, selection, settings, as_json=as_json, indent=None if watch else 2)
        if watch is None or not _pause(watch):
            break
    sys.exit(int(any(map(selection.counts, problems))))


def _check_merchant(status: Status, merchant: str | None) -> None:
    if merchant and status.overview and merchant not in (names := [m.merchant for m in status.overview.merchants]):
        raise no_such("merchant", merchant, names)


def _pause(seconds: float) -> bool:
    """Wait; False when Ctrl-C ended it."""
    try:
        time.sleep(seconds)
    except KeyboardInterrupt:
        return False
    return True


def look(settings: Settings) -> Status:
    """Read server and broker; one that is unavailable is a problem, not an error."""
    queues = queue_depths(configure(Celery("allocation"), settings), settings)
    try:
        overview = asyncio.run(connected(settings, _read))
    except (RedisError, OSError) as error:
        text = away(settings, error)
        ping = f"redis-cli -u {server_address(settings.redis_url.get_secret_value())} ping"
        lost = Problem(slug="redis_unavailable", severity="urgent", subject="", text=text, command=ping)
        return Status(overview=None, queues=queues, problems=(lost,))
    problems = find_problems(overview, queues, known_files(settings), settings)
    return Status(overview=overview, queues=queues, problems=tuple(problems))


async def _read(store: Store, settings: Settings) -> Overview:
    return await read_overview(store, settings)


def _show(
    status: Status,
    problems: list[Problem],
    selection: Selection,
    settings: Settings,
    *,
    as_json: bool,
    indent: int | None,
) -> None:
    if as_json:
        head = StatusHead(
            healthy=not any(map(selection.counts, problems)),
            problems=tuple(problems),
            queues=None if isinstance(status.queues, str) else status.queues,
        )
        print_json(status_document(head, status.overview), indent=indent)
        return
    if status.overview:
        _show_counts(status.overview, status.queues, selection, settings)
    for problem in problems:
        colour = "red" if problem.severity == "urgent" else "yellow"
        excluded = " (excluded)" if problem.slug in selection.excluded else ""
        text = problem.sentence(status.overview.now if status.overview else None)
        say(f"{problem.severity}: {problem.slug}{excluded}: {text}", fg=colour)
        say(f"  {problem.command}")


def _show_counts(overview: Overview, queues: Queues, selection: Selection, settings: Settings) -> None:
    shown = list(filter(selection.shows, overview.merchants))
    if shown:
        print_table(merchants_table(shown))
    if selection.merchant:
        return
    if idle := len(overview.merchants) - len(shown):
        say(f"{count(idle, 'merchant')} idle")
    for name, value in facts(overview, queues, settings):
        say(f"{name}: {value}")
