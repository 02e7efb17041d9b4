"""Problems of the system as a whole: broker, processes, orders stream, breakers, server."""

from collections.abc import Iterator, Mapping

from config.settings import Settings
from worker.observability.overview import Overview
from worker.observability.problems.problem import KnownFiles, Problem
from worker.observability.text import count, duration

SWEEPS_MISSED, SWEEP_LATE_S = 3, 30.0
UNREAD_S = 60.0
BREAKER_OPEN_S = 60.0
MEMORY_SHARE = 0.8
DIFFER_S = 300.0
"""How long processes may have different versions or merchant files, as during a deploy."""

ROLES = ("intake", "worker", "beat")


def of_broker(queues: Mapping[str, int] | str) -> Iterator[Problem]:
    """The broker is unavailable."""
    if isinstance(queues, str):
        yield Problem(
            slug="broker_unavailable",
            severity="urgent",
            subject="",
            text=f"broker: {queues}; no claim loop starts until it is back",
            command="allocation check",
        )


def of_processes(overview: Overview, settings: Settings) -> Iterator[Problem]:
    """Processes without a heartbeat, and a late sweep."""
    for role in ROLES:
        if not any(name.startswith(f"{role}@") for name in overview.processes):
            text = f"no {role} has sent a heartbeat in the last 30 s; is one running?"
            yield Problem(
                slug="process_missing", severity="urgent", subject=role, text=text, command=f"allocation health {role}"
            )
    late_s = max(SWEEPS_MISSED * settings.sweep_seconds, SWEEP_LATE_S)
    if overview.last_sweep_s is None or overview.last_sweep_s > late_s:
        ago = "no sweep has run yet"
        if overview.last_sweep_s is not None:
            ago = f"the last sweep was {duration(overview.last_sweep_s)} ago"
        since = None if overview.last_sweep_s is None else overview.now - overview.last_sweep_s
        yield Problem(
            slug="sweep_late",
            severity="urgent",
            subject="",
            text=f"{ago}; are worker and beat running?",
            command="allocation health beat",
            since=since,
        )


def of_orders(overview: Overview) -> Iterator[Problem]:
    """Orders that are unread or lost."""
    waited_s = overview.orders.oldest_s
    if waited_s is not None and waited_s > UNREAD_S:
        yield Problem(
            slug="order_unread",
            severity="urgent",
            subject="",
            text=f"an order has been unread for {duration(waited_s)}; are enough intakes running?",
            command="allocation health intake",
            since=overview.now - waited_s,
        )
    if overview.lost_orders:
        text = f"{count(overview.lost_orders, 'order')} lost before an intake read them; publish them again"
        yield Problem(
            slug="orders_lost", severity="urgent", subject="", text=text, command="allocation dismiss --lost --why TEXT"
        )


def of_breakers(overview: Overview, files: KnownFiles) -> Iterator[Problem]:
    """Open circuit breakers."""
    unfinished = {merchant.merchant: merchant.unfinished for merchant in overview.merchants}
    for breaker in overview.breakers:
        names = sorted(name for name, api in files.apis.items() if breaker.concerns(api))
        listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")  # noqa: PLR2004
        yield Problem(
            slug="breaker_open",
            severity="urgent" if overview.now - breaker.since >= BREAKER_OPEN_S else "attention",
            subject=breaker.host,
            merchants=tuple(names),
            text=f"{breaker.api}: circuit breaker open for {duration(overview.now - breaker.since)}; "
            f"next probe in {duration(breaker.probe_in_s)}; merchants: {listed or 'unknown'}",
            command="allocation status --watch 2",
            since=breaker.since,
            shipments=sum(unfinished.get(name, 0) for name in names),
        )


def of_rejected(overview: Overview) -> Iterator[Problem]:
    """Rejected events to deal with."""
    if overview.rejected:
        events = sum(each.events for each in overview.rejected)
        yield Problem(
            slug="orders_rejected",
            severity="attention",
            subject="",
            text=f"{count(events, 'rejected event')} to deal with",
            command="allocation rejected",
            since=min((each.since for each in overview.rejected if each.since), default=None),
        )


def of_server(overview: Overview) -> Iterator[Problem]:
    """What the Redis server refuses, its memory and its settings."""
    if overview.refuses:
        text = f"the server refuses writes: {overview.refuses}; nothing goes on until it accepts them"
        yield Problem(
            slug="redis_unavailable", severity="urgent", subject="", text=text, command="allocation status --watch 2"
        )
    if overview.memory_share is not None and overview.memory_share > MEMORY_SHARE:
        text = f"Redis uses {overview.memory_share:.0%} of its maxmemory; when it is full, every write is refused"
        yield Problem(slug="memory_low", severity="urgent", subject="", text=text, command="allocation status --json")
    for warning in overview.unsafe:
        yield Problem(slug="redis_unsafe", severity="attention", subject="", text=warning, command="allocation check")


def of_settings(files: KnownFiles) -> Iterator[Problem]:
    """Settings and merchant files that are accepted with a warning."""
    if files.warnings:
        more = f" (and {len(files.warnings) - 1} more)" if len(files.warnings) > 1 else ""
        yield Problem(
            slug="settings_warnings",
            severity="attention",
            subject="",
            text=f"{files.warnings[0]}{more}",
            command="allocation check",
        )


def of_differences(overview: Overview) -> Iterator[Problem]:
    """Processes that have had different versions or merchant files for too long."""
    beats = overview.processes.values()
    versions = {beat.version for beat in beats}
    started = max((beat.started or overview.now for beat in beats), default=overview.now)
    if len(versions) > 1 and overview.now - started > DIFFER_S:
        text = f"processes run different versions: {', '.join(sorted(map(str, versions)))}"
        yield Problem(
            slug="versions_differ",
            severity="attention",
            subject="",
            text=text,
            command="allocation status --json",
            since=started,
        )
    in_use = [beat.files for beat in beats if beat.files]
    changed = max((files.since for files in in_use), default=overview.now)
    if len({files.digest for files in in_use}) > 1 and overview.now - changed > DIFFER_S:
        text = "processes use different merchant files; deploy the same ones to every machine"
        yield Problem(
            slug="files_differ",
            severity="attention",
            subject="",
            text=text,
            command="allocation status --json",
            since=changed,
        )
