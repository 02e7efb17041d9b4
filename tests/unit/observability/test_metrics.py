"""The Prometheus text: names, types and values, and no label from an event."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from tests.factories.readings import READINGS
from worker.observability.metrics import exposition, families


@dataclass(frozen=True, eq=False)
class Collected(Collector):
    """Metrics for the library's own writer."""

    found: list[Metric]

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        yield from self.found


def samples() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels, as Prometheus parses it."""
    text = exposition(READINGS).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(name: str, **labels: str) -> float:
    """The value of a sample."""
    return samples()[name, tuple(sorted(labels.items()))]


def test_counters() -> None:
    """They have the suffix of counters and all labels."""
    labels = {"rule": "default", "strategy": "virtual_service V", "fell_back": "false", "adopted": "true"}
    assert value("allocation_shipments_allocated_total", merchant="acme", **labels) == 4
    assert value("allocation_shipments_failed_total", merchant="acme", rule="default", reason="conflict") == 5
    assert value("allocation_events_rejected_total", reason="bad_json") == 3


def test_the_text_is_that_of_the_library() -> None:
    """Byte by byte, also with names of rules that need escaping."""
    odd = {("failed", "acme", 'a "b"\n\\ é', "conflict"): 1}
    readings = replace(READINGS, counters={**READINGS.counters, **odd})
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected([*families(readings)]))
    assert exposition(readings).decode() == generate_latest(registry).decode()


def test_histograms() -> None:
    """Buckets are cumulative, and the last one has every observation."""
    assert value("allocation_settle_seconds_bucket", host="api.test", le="0.1") == 7
    assert value("allocation_settle_seconds_bucket", host="api.test", le="86400.0") == 7
    assert value("allocation_settle_seconds_bucket", host="api.test", le="+Inf") == 9
    assert value("allocation_settle_seconds_count", host="api.test") == 9
    assert value("allocation_settle_seconds_sum", host="api.test") == 9.0
    assert value("allocation_call_seconds_bucket", host="api.test", action="allocate", le="0.05") == 0
    assert value("allocation_call_seconds_bucket", host="api.test", action="allocate", le="0.1") == 6


def test_summaries() -> None:
    """Sum and count by merchant."""
    assert value("allocation_merchant_settle_seconds_sum", merchant="acme") == 9.0
    assert value("allocation_merchant_settle_seconds_count", merchant="acme") == 9
    assert value("allocation_merchant_call_seconds_count", merchant="acme") == 6


def test_gauges() -> None:
    """The overview's values; a role without a process is 0."""
    assert value("allocation_shipments", merchant="acme", state="parked") == 2
    assert value("allocation_oldest_due_seconds", merchant="acme") == 6.5
    assert value("allocation_processes", role="worker") == 1
    assert value("allocation_processes", role="beat") == 0
    assert value("allocation_merchant_window", merchant="acme") == 20


def test_no_label_is_from_an_event() -> None:
    """An order may name any merchant; a problem that is about such a one has no subject."""
    assert value("allocation_problem", problem="file_missing", severity="attention", subject="") == 1
    assert "own text" not in exposition(READINGS).decode()
