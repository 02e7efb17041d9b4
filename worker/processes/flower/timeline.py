"""The history of a shipment as a drawing to scale: calls, read-backs, waits and quiet times. Pure."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from config.merchant_files.retry import Retry
from worker.ledger.records import Record, Settled
from worker.observability.history import Row, history_rows
from worker.observability.text import count, duration

WIDTH = 1000
LANE = 36
"""Height of the lane of a strategy: its name, and its calls below."""

_MIN_BAR = 6.0
_APART = 1.0
_TICKS = 8
_STEPS_S = (0.05, 0.1, 0.2, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400, 172800)
_COLOURED = {"allocated", "refused", "unknown", "queued", "in flight", "stopped"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A rectangle. `kind`: its CSS classes. `title`: what it is, for people; it may hold foreign text."""

    kind: str
    x: float
    width: float
    lane: int
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """A mark of the time axis, with the time since the beginning."""

    x: float
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """The drawing. `lanes`: the strategies, from the top; `spans`: quiet times, waits and gaps, behind the `bars`."""

    lanes: tuple[str, ...]
    spans: tuple[Shape, ...]
    bars: tuple[Shape, ...]
    ticks: tuple[Tick, ...]
    name: str

    @property
    def height(self) -> int:
        """Of the drawing with its axis."""
        return len(self.lanes) * LANE + 20


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scale:
    """Every bar has a minimum width, however short its call was; what is left of the width is to scale.

    `begins`: when the bars begin, in seconds since the epoch like `begin` and `end`.
    """

    begin: float
    end: float
    begins: tuple[float, ...]

    def x(self, at: float) -> float:
        """The place of a time."""
        return self._true(at) + bisect_left(self.begins, at) * (_MIN_BAR + _APART)

    def bar(self, index: int, until: float) -> tuple[float, float]:
        """Begin and width of a bar."""
        begin = self._true(self.begins[index])
        return begin + index * (_MIN_BAR + _APART), _MIN_BAR + max(0.0, self._true(until) - begin)

    def _true(self, at: float) -> float:
        share = (at - self.begin) / (self.end - self.begin)
        return min(1.0, max(0.0, share)) * (WIDTH - len(self.begins) * (_MIN_BAR + _APART))


def timeline(record: Record, retry: Retry | None) -> Timeline | None:
    """The drawing of a record's history; None if no entry has a time. `retry`: the settings in use, for quiet times."""
    rows = [row for row in history_rows(record) if row.left_out or row.at is not None]
    timed = [row for row in rows if row.at is not None]
    if not timed:
        return None
    until = record.where.at if isinstance(record.where, Settled) else record.now
    begins = tuple(map(_at, timed))
    end = max(until, *(_end(row, record.now) for row in timed), min(begins) + 0.001)
    scale, lanes = _Scale(begin=min(begins), end=end, begins=begins), _lanes(record, timed)
    bars = [_bar(index, row, scale, lanes, record.now) for index, row in enumerate(timed)]
    drawn = [*zip(timed, bars, strict=True)]
    return Timeline(
        lanes=lanes,
        spans=(*_quiet_times(drawn, retry, scale, record.now), *_between(rows, bars)),
        bars=tuple(bars),
        ticks=tuple(_ticks(scale)),
        name=f"Timeline of {duration(scale.end - scale.begin)}, {count(len(lanes), 'lane')}",
    )


def _at(row: Row) -> float:
    return row.at or 0.0


def _end(row: Row, now: float) -> float:
    return max(_at(row), now) if row.is_in_flight else _at(row) + (row.duration_ms or 0.0) / 1000


def _lanes(record: Record, rows: Sequence[Row]) -> tuple[str, ...]:
    """The steps of the plan, and strategies of earlier plans; what belongs to no strategy is in the last lane."""
    names = dict.fromkeys(map(str, record.shipment.steps)) | dict.fromkeys(map(_lane, rows))
    return tuple(sorted(names, key=lambda name: name == ""))


def _lane(row: Row) -> str:
    return row.strategy or ""


def _bar(index: int, row: Row, scale: _Scale, lanes: Sequence[str], now: float) -> Shape:
    end = _end(row, now)
    x, width = scale.bar(index, end)
    outcome = row.outcome if row.outcome in _COLOURED else "other"
    words = [f"{row.number or ''} {row.action}".strip(), row.outcome, row.reason, row.message, f"at {row.time}"]
    took = duration(end - _at(row)) if row.is_in_flight or row.duration_ms is not None else None
    return Shape(
        kind=f"bar {outcome.replace(' ', '-')}{' read' if row.action == 'read' else ''}",
        x=round(x, 1),
        width=round(width, 1),
        lane=lanes.index(_lane(row)),
        title=", ".join(word for word in (*words, took) if word),
    )


def _quiet_times(drawn: Iterable[tuple[Row, Shape]], retry: Retry | None, scale: _Scale, now: float) -> Iterator[Shape]:
    """From the end of each open call, until its quiet time was over or the next call began."""
    calls = [(row, bar) for row, bar in drawn if row.action == "allocate"]
    for (row, bar), following in zip_longest(calls, calls[1:]):
        if retry is None or row.outcome not in {"unknown", "queued"}:
            continue
        quiet_s = retry.queue_s if row.outcome == "queued" else retry.quiet_s
        end = min(scale.x(_end(row, now) + quiet_s), following[1].x if following else WIDTH)
        title = f"quiet time of {duration(quiet_s)}: only read-backs are sent"
        yield _from_bar(bar, end, "quiet", title)


def _between(rows: Iterable[Row], bars: Iterable[Shape]) -> Iterator[Shape]:
    """What is between two bars: a wait, or entries that are not kept."""
    before: tuple[Row, Shape] | None = None
    left_out, following = 0, iter(bars)
    for row in rows:
        if row.left_out:
            left_out = row.left_out
            continue
        bar = next(following)
        if before and left_out:
            yield _from_bar(before[1], bar.x, "gap", f"{left_out} more, not kept")
        elif before and (waited := _at(row) - _end(before[0], 0.0)) > 0:
            yield _from_bar(before[1], bar.x, "wait", f"{duration(waited)} without a request")
        before, left_out = (row, bar), 0


def _from_bar(bar: Shape, end: float, kind: str, title: str) -> Shape:
    """A span from the end of a bar."""
    begin = bar.x + bar.width
    return Shape(kind=kind, x=round(begin, 1), width=round(max(0.0, end - begin), 1), lane=bar.lane, title=title)


def _ticks(scale: _Scale) -> Iterator[Tick]:
    span = scale.end - scale.begin
    step = next((step for step in _STEPS_S if span / step <= _TICKS), 86400.0 * -(-span // (86400 * _TICKS)))
    for number in range(int(span / step) + 1):
        seconds = number * step
        label = f"{seconds:.2g} s" if step < 1 else duration(seconds)
        yield Tick(x=round(scale.x(scale.begin + seconds), 1), label=label if number else "0")
