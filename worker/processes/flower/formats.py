"""How pages write numbers, times and text; templates call it `text`."""

from functools import cache

from worker.observability.text import clock, count, duration, visible

__all__ = ["age", "clock", "count", "duration", "percent", "seconds", "sparkline", "visible"]

_WIDTH, _HEIGHT = 120, 20


def age(since: float, now: float) -> str:
    """How long ago a time was: `42 s ago`. Both in seconds since the epoch."""
    return f"{duration(max(0.0, now - since))} ago"


def seconds(value: float | None) -> str:
    """A mean duration; `-` if there is none."""
    return "-" if value is None else duration(value)


def percent(share: float | None) -> str:
    """A share as a percentage; `-` if there is none, one decimal below ten."""
    if share is None:
        return "-"
    return f"{share:.0%}" if share == 0 or share >= 0.1 else f"{share:.1%}"  # noqa: PLR2004


def sparkline(values: tuple[int, ...]) -> str:
    """The points of an SVG polyline of these values, in a box of 120 to 20."""
    most = max(*values, 1)
    heights = {value: f"{round(_HEIGHT - 1 - value / most * (_HEIGHT - 2), 1):g}" for value in set(values)}
    return " ".join(f"{x},{heights[value]}" for x, value in zip(_columns(len(values)), values, strict=True))


@cache
def _columns(number: int) -> tuple[str, ...]:
    step = _WIDTH / max(1, number - 1)
    return tuple(f"{round(i * step, 1):g}" for i in range(number))
