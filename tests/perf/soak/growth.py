"""Detects unbounded growth in series of samples."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from tests.perf.soak.samples import LIVING, Sample

MB = 1024 * 1024
API_NOISE = 20
"""Connections to the API that a burst of retries opens; those that are not needed are closed after 15 seconds."""

SHARE = 0.05
"""A last quarter within this share of the third quarter's mean is not growth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The means of a run's first, third and last quarter; the slope over its second half, per 10,000 orders.

    `noise`: a difference that means nothing, in the row's own unit (`scale` makes the table's of it).
    """

    name: str
    unit: str
    scale: float
    noise: float
    first: float
    third: float
    last: float
    slope: float

    @property
    def grows(self) -> bool:
        """Whether the last quarter exceeds the third one by more than chance."""
        return self.last - self.third > max(self.noise, SHARE * self.third)


Measure = Callable[[Sample], float]


def rows(samples: Sequence[Sample]) -> Iterator[Row]:
    """Every series: memory and descriptors of each process, then the server, then the connections to the API."""
    for name in (*LIVING, oldest_child(samples)):
        alive = [sample for sample in samples if name in sample.processes]
        shown = name if name in LIVING else "worker child"
        yield _row(f"{shown} RSS", alive, lambda s, n=name: s.processes[n].rss, noise=3 * MB)  # type: ignore[misc]
        yield _row(f"{shown} PSS", alive, lambda s, n=name: s.processes[n].pss, noise=3 * MB)  # type: ignore[misc]
        # A child's descriptors include its connections to the API, which vary with its share of the load.
        noise = 10 if name in LIVING else API_NOISE + 5
        yield _row(f"{shown} fds", alive, lambda s, n=name: s.processes[n].fds, noise=noise)  # type: ignore[misc]
    yield _row("Redis memory", samples, lambda s: s.used, noise=3 * MB)
    yield _row("Redis keys", samples, lambda s: s.keys, noise=1000)
    yield _row("Redis clients", samples, lambda s: s.clients, noise=10)
    for stream in samples[0].streams:
        yield _row(stream, samples, lambda s, n=stream: s.streams[n], noise=1000)  # type: ignore[misc]
    yield _row("API connections", samples, lambda s: s.api_connections, noise=API_NOISE)


def oldest_child(samples: Sequence[Sample]) -> str:
    """The worker's child with the most samples; others were killed during the run."""
    seen = [name for sample in samples for name in sample.processes if name not in LIVING]
    return max(sorted(set(seen)), key=seen.count)


def _row(name: str, samples: Sequence[Sample], measure: Measure, noise: float) -> Row:
    values = [measure(sample) for sample in samples]
    quarters = [values[len(values) * n // 4 : max(1, len(values) * (n + 1) // 4)] for n in range(4)]
    first, _, third, last = (fmean(quarter or values) for quarter in quarters)
    half = len(values) // 2
    slope = _slope([sample.settled for sample in samples[half:]], values[half:])
    unit, scale = ("MB", MB) if noise >= MB else ("", 1)
    return Row(
        name=name, unit=unit, scale=scale, noise=noise, first=first, third=third, last=last, slope=slope * 10_000
    )


def _slope(orders: Sequence[float], values: Sequence[float]) -> float:
    """Least squares; 0 for a constant series."""
    middle, mean = fmean(orders), fmean(values)
    match_outcomes = sum((x - middle) ** 2 for x in orders)
    return (
        sum((x - middle) * (y - mean) for x, y in zip(orders, values, strict=True)) / match_outcomes
        if match_outcomes
        else 0.0
    )


def bytes_per_kept_order(samples: Sequence[Sample]) -> float:
    """Bytes of the server per key at the end; nearly all keys are records of shipments."""
    last = samples[len(samples) * 3 // 4 :]
    return (fmean(s.used for s in last) - samples[0].used) / max(1.0, fmean(s.keys for s in last))


def table(found: Sequence[Row]) -> str:
    """The rows as lines of text; those that grow are marked."""
    lines = [f"{'':32}{'first quarter':>15}{'third quarter':>15}{'last quarter':>15}{'per 10,000 orders':>19}"]
    for row in found:
        cells = "".join(f"{value / row.scale:{width}.1f}" for value, width in _cells(row))
        lines.append(f"{f'{row.name} {row.unit}':32}{cells}{'  grows' if row.grows else ''}")
    return "\n".join(lines)


def _cells(row: Row) -> tuple[tuple[float, int], ...]:
    return (row.first, 15), (row.third, 15), (row.last, 15), (row.slope, 19)
