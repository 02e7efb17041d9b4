"""How pages write numbers, times and text; templates call it `text`."""

from functools import cache

from worker.ledger.shipment_state import Scheduled, Working
from worker.observability.merchant_counts import MerchantCounts
from worker.observability.text import clock, count, duration, visible

__all__ = ["age", "bounds", "clock", "count", "duration", "percent", "seconds", "sparkline", "unfinished", "visible"]

_WIDTH, _HEIGHT = 120, 20


def age(since: float, now: float) -> str:
    """How long ago a time was: `42 s ago`. Both in seconds since the epoch."""
    return f"{duration(max(0.0, now - since))} ago"


def bounds(counts: MerchantCounts) -> str:
    """Window and limits of a merchant: `200`, or `200; 5 in flight, 2.5 a second`."""
    limits = (
        f"{counts.limit_in_flight} in flight" if counts.limit_in_flight else "",
        f"{counts.limit_per_second:g} a second" if counts.limit_per_second else "",
    )
    stated = ", ".join(filter(None, limits))
    return f"{counts.window}; {stated}" if stated else str(counts.window)


def unfinished(state: Scheduled | Working, now: float) -> str:
    """The state of a shipment that is not settled: `parked, due in 42 s`. `now` in seconds since the epoch."""
    match state:
        case Working(lease_end=end):
            return f"working, its lease expires in {duration(max(0.0, end - now))}"
        case Scheduled(due=due) if due > now:
            return f"parked, due in {duration(due - now)}"
        case Scheduled(due=due):
            return f"due for {duration(now - due)}"


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
