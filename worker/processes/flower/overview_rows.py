"""The rows of the overview: merchants, the worst first. Pure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from worker.ledger.throttling import Breaker, Slowed
from worker.observability.activity import Activity
from worker.observability.merchant_counts import MerchantCounts
from worker.observability.metrics import Readings
from worker.observability.text import duration

NO_ACTIVITY = Activity(orders=(), allocated=0, mean_allocate_s=None, fell_back_share=None, unknown_share=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class MerchantRow:
    """A merchant. `urgent`, `attention`: its problems. `stopped`: why its shipments get no call, and until when."""

    counts: MerchantCounts
    activity: Activity
    urgent: int
    attention: int
    stopped: tuple[str, ...]

    @property
    def name(self) -> str:
        """The merchant."""
        return self.counts.merchant

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to say about it."""
        return not (
            self.urgent or self.attention or self.stopped or self.counts.unfinished or any(self.activity.orders)
        )


def merchant_rows(readings: Readings) -> list[MerchantRow]:
    """A row per merchant, those with problems first, then those with failed and waiting shipments, then by orders."""
    urgent, attention = Counter[str](), Counter[str]()
    for problem in readings.problems:
        of_severity = urgent if problem.severity == "urgent" else attention
        of_severity.update([problem.subject])
    slowed = {each.merchant: each for each in readings.overview.slowed}
    rows = [
        MerchantRow(
            counts=counts,
            activity=readings.activity.get(counts.merchant, NO_ACTIVITY),
            urgent=urgent[counts.merchant],
            attention=attention[counts.merchant],
            stopped=tuple(_stopped(counts, _breakers_of(counts.merchant, readings), slowed.get(counts.merchant))),
        )
        for counts in readings.overview.merchants
    ]
    return sorted(rows, key=_badness)


def _badness(row: MerchantRow) -> tuple[int, int, int, int, int, str]:
    counts = row.counts
    waiting, orders = counts.due + counts.parked, sum(row.activity.orders)
    return -row.urgent, -counts.failed, -len(row.stopped), -waiting, -orders, row.name


def _breakers_of(merchant: str, readings: Readings) -> list[Breaker]:
    api = readings.apis.get(merchant)
    return [each for each in readings.overview.breakers if api and each.concerns(api)]


def _stopped(counts: MerchantCounts, breakers: list[Breaker], slow: Slowed | None) -> Iterator[str]:
    if counts.on_hold is not None:
        yield f"on hold: {counts.on_hold}"
    if counts.paused is not None:
        yield f"paused: {counts.paused}"
    for breaker in breakers:
        probe = f"next probe in {duration(breaker.probe_in_s)}" if breaker.probe_in_s else "a probe is in flight"
        yield f"breaker open: {breaker.host}; {probe}"
    if slow:
        yield f"throttled {duration(slow.throttled_s)} ago"
