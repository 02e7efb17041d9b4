"""Prometheus gauges from the overview. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from worker.observability.merchant_counts import MerchantCounts
from worker.observability.overview import Overview
from worker.observability.problems.problem import Problem

Values = dict[tuple[str, ...], float]
"""Values by labels."""


def gauges(overview: Overview, problems: Sequence[Problem], queues: Mapping[str, int]) -> Iterator[Metric]:
    """All gauges. `queues`: messages by queue of the broker."""
    yield from _of_merchants(overview)
    yield from _of_the_system(overview, queues)
    yield _problems(overview, problems)


_OF_A_MERCHANT: tuple[tuple[str, str, Callable[[MerchantCounts], float]], ...] = (
    ("oldest_due_seconds", "How long the first due shipment has been waiting.", lambda each: each.oldest_due_s or 0.0),
    ("shipments_failed_unresolved", "Failed shipments to deal with.", lambda each: each.failed),
    ("shipments_in_quiet_time", "Parked shipments in their quiet time.", lambda each: each.in_quiet_time),
    (
        "shipments_near_deadline",
        "Parked shipments past three quarters of the time to their deadline.",
        lambda each: each.near_deadline,
    ),
    ("merchant_paused", "1 while the worker has stopped the merchant.", lambda each: each.paused is not None),
    ("merchant_on_hold", "1 while an operator has stopped the merchant.", lambda each: each.on_hold is not None),
)
"""Gauges that are 0 for most merchants, who are then left out."""


def _of_merchants(overview: Overview) -> Iterator[Metric]:
    merchants = overview.merchants
    states = {
        (each.merchant, state): getattr(each, state) for each in merchants for state in ("due", "parked", "working")
    }
    yield _gauge("shipments", "Unfinished shipments by state.", ["merchant", "state"], states)
    for name, about, value in _OF_A_MERCHANT:
        values = {(each.merchant,): number for each in merchants if (number := value(each))}
        yield _gauge(name, about, ["merchant"], values)
    windows = {(each.merchant,): float(each.window) for each in overview.slowed}
    about = "How many shipments of a merchant with a recent 429 may be working."
    yield _gauge("merchant_window", about, ["merchant"], windows)


def _of_the_system(overview: Overview, queues: Mapping[str, int]) -> Iterator[Metric]:
    yield from _of_orders(overview)
    breakers: Values = {(each.api,): 1.0 for each in overview.breakers}
    yield _gauge("breaker_open", "1 while calls to an API are stopped.", ["api"], breakers)
    depths: Values = {(name,): float(depth) for name, depth in queues.items()}
    yield _gauge("queue_messages", "Messages in Celery's queues.", ["queue"], depths)
    sweep: Values = {} if overview.last_sweep_s is None else {(): overview.last_sweep_s}
    yield _gauge("last_sweep_age_seconds", "How long ago the last sweep was.", [], sweep)
    yield from _of_processes(overview)
    memory: Values = {} if overview.memory_share is None else {(): overview.memory_share}
    yield _gauge("redis_memory_ratio", "The used share of the server's maxmemory.", [], memory)


def _of_orders(overview: Overview) -> Iterator[Metric]:
    unread: Values = {} if overview.orders.undelivered is None else {(): float(overview.orders.undelivered)}
    yield _gauge("orders_unread", "Entries of the orders stream that no intake has read.", [], unread)
    pending: Values = {(): float(overview.orders.unacknowledged)}
    yield _gauge("orders_pending", "Entries that an intake has read and not yet accepted.", [], pending)
    oldest: Values = {(): overview.orders.oldest_s or 0.0}
    yield _gauge("oldest_order_seconds", "The age of the oldest of these entries.", [], oldest)
    yield _gauge("orders_lost_unresolved", "Lost orders to deal with.", [], {(): float(overview.lost_orders)})
    rejected: Values = defaultdict(float)
    for each in overview.rejected:
        rejected[each.reason,] += each.events
    yield _gauge("events_rejected_unresolved", "Rejected events to deal with.", ["reason"], rejected)


def _of_processes(overview: Overview) -> Iterator[Metric]:
    alive: Values = dict.fromkeys(((role,) for role in ("intake", "worker", "beat")), 0.0)
    for name in overview.processes:
        alive[name.partition("@")[0],] += 1
    yield _gauge("processes", "Processes with a recent heartbeat.", ["role"], alive)
    ages: dict[tuple[str, ...], float] = {}
    for name, beat in overview.processes.items():
        role = name.partition("@")[0]
        ages[role,] = min(ages.get((role,), overview.now), max(0.0, overview.now - beat.at))
    about = "How long ago the last heartbeat of any process of this role was."
    yield _gauge("heartbeat_age_seconds", about, ["role"], ages)


def _problems(overview: Overview, problems: Sequence[Problem]) -> Metric:
    # Labels come from files, never from events: an order may name any merchant.
    known = {"intake", "worker", "beat", *(each.merchant for each in overview.merchants)}
    known |= {each.host for each in overview.breakers}
    values: Values = {
        (each.slug, each.severity, each.subject if each.subject in known else ""): 1.0 for each in problems
    }
    about = "1 for each problem of `allocation status`."
    return _gauge("problem", about, ["problem", "severity", "subject"], values)


def _gauge(name: str, about: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(f"allocation_{name}", about, labels=labels)
    for each, value in sorted(values.items()):
        family.add_metric(each, value)
    return family
