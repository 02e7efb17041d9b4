"""Prometheus metrics from the ledger's counters and the overview. Pure.

Counters are counted by the scripts that settle and record, so they survive every restart and are exact; a call whose
report is repeated because its reply was lost may be counted twice.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.utils import floatToGoString

from worker.ledger.counters import CALL_BUCKETS_S, SETTLE_BUCKETS_S
from worker.observability.activity import Activity
from worker.observability.gauges import Values, gauges
from worker.observability.overview import Overview
from worker.observability.problems.problem import Problem

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, kw_only=True, slots=True)
class Readings:
    """What a scrape and the pages show.

    `counters`: numbers by kind and labels. `queues`: messages by queue of the broker. `apis`: the API of each
    merchant with a valid file. `activity`: of the last hour, by merchant.
    """

    overview: Overview
    problems: Sequence[Problem]
    counters: Mapping[tuple[Any, ...], int]
    queues: Mapping[str, int]
    apis: Mapping[str, str] = field(default_factory=dict)
    activity: Mapping[str, Activity] = field(default_factory=dict)


def exposition(readings: Readings) -> bytes:
    """The metrics as Prometheus text: what `generate_latest` of prometheus-client writes, in a third of its time."""
    return "".join(line for metric in families(readings) for line in _lines(metric)).encode()


def _lines(metric: Metric) -> Iterator[str]:
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    yield f"# HELP {name} {metric.documentation}\n# TYPE {name} {metric.type}\n"
    for sample in metric.samples:
        labels = ",".join([f'{label}="{_escaped(value)}"' for label, value in sorted(sample.labels.items())])
        yield f"{sample.name}{f'{{{labels}}}' if labels else ''} {floatToGoString(sample.value)}\n"  # type: ignore[no-untyped-call]


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def families(readings: Readings) -> Iterator[Metric]:
    """Every metric, in the order of the table in docs/operating.md."""
    kinds: dict[str, dict[tuple[Any, ...], int]] = defaultdict(dict)
    for (kind, *labels), number in readings.counters.items():
        kinds[kind][tuple(labels)] = number
    yield from _counters(kinds)
    yield from _times(kinds)
    yield from _of_all_time(readings.overview)
    yield from gauges(readings.overview, readings.problems, readings.queues)


def _counters(kinds: Mapping[str, Mapping[tuple[Any, ...], int]]) -> Iterator[Metric]:
    yield _counter("orders_accepted", "Orders with at least one new shipment.", ["merchant"], kinds["orders"])
    yield _counter("shipments_accepted", "New shipments.", ["merchant"], kinds["accepted"])
    yield _counter("events_rejected", "Events of the orders stream that were rejected.", ["reason"], kinds["rejected"])
    allocated = {
        (merchant, rule, strategy, _word(fell_back), _word(adopted)): number
        for (merchant, rule, strategy, fell_back, adopted), number in kinds["allocated"].items()
    }
    labels = ["merchant", "rule", "strategy", "fell_back", "adopted"]
    yield _counter("shipments_allocated", "Shipments that were allocated, by the strategy that won.", labels, allocated)
    labels = ["merchant", "rule", "reason"]
    yield _counter("shipments_failed", "Shipments that failed; again after each replay.", labels, kinds["failed"])
    labels = ["merchant", "action", "strategy", "outcome"]
    yield _counter("calls", "Calls, read-backs and requests for quotes.", labels, kinds["calls"])


def _word(flag: int) -> str:
    return "true" if flag else "false"


def _counter(name: str, about: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    family = CounterMetricFamily(f"allocation_{name}", about, labels=labels)
    for each, value in sorted(values.items()):
        family.add_metric(each, value)
    return family


def _times(kinds: Mapping[str, Mapping[tuple[Any, ...], int]]) -> Iterator[Metric]:
    yield _histogram(
        "settle_seconds",
        "Time from an order's event until its shipment was settled.",
        ["host"],
        (kinds["settle_bucket"], kinds["settle_ms"], SETTLE_BUCKETS_S),
    )
    settled: Values = defaultdict(float)
    for kind in ("allocated", "failed"):
        for (merchant, *_), number in kinds[kind].items():
            settled[merchant,] += number
    yield _summary("merchant_settle_seconds", "The same by merchant.", settled, kinds["merchant_settle_ms"])
    yield _histogram(
        "call_seconds",
        "Duration of calls, read-backs and requests for quotes.",
        ["host", "action"],
        (kinds["call_bucket"], kinds["call_ms"], CALL_BUCKETS_S),
    )
    called: Values = defaultdict(float)
    for (merchant, *_), number in kinds["calls"].items():
        called[merchant,] += number
    yield _summary("merchant_call_seconds", "The same by merchant.", called, kinds["merchant_call_ms"])


def _histogram(
    name: str,
    about: str,
    labels: Sequence[str],
    found: tuple[Mapping[tuple[Any, ...], int], Mapping[tuple[Any, ...], int], Sequence[float]],
) -> Metric:
    by_bucket, sums_ms, bounds = found
    family = HistogramMetricFamily(f"allocation_{name}", about, labels=labels)
    names = [*(str(bound) for bound in bounds), "+Inf"]
    for each, total_ms in sorted(sums_ms.items()):
        counts = [by_bucket.get((*each, index), 0) for index in range(len(names))]
        running = [sum(counts[: index + 1]) for index in range(len(names))]
        family.add_metric(each, list(zip(names, running, strict=True)), total_ms / 1000)
    return family


def _summary(name: str, about: str, numbers: Values, sums_ms: Mapping[tuple[Any, ...], int]) -> Metric:
    family = SummaryMetricFamily(f"allocation_{name}", about, labels=["merchant"])
    for each, number in sorted(numbers.items()):
        family.add_metric(each, int(number), sums_ms.get(each, 0) / 1000)
    return family


def _of_all_time(overview: Overview) -> Iterator[Metric]:
    repeated = {(each.merchant,): each.repeated_calls for each in overview.merchants if each.repeated_calls}
    yield _counter("calls_repeated", "Calls that were made after an open one.", ["merchant"], repeated)
    changed = {(each.merchant,): each.carrier_changed for each in overview.merchants if each.carrier_changed}
    yield _counter("carrier_changed", "Shipments that such a call booked twice.", ["merchant"], changed)
