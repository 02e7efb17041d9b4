"""The history of a shipment as rows for people, also of entries that this version cannot read. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from config.strategies.strategy import strategy_text
from tasks.rules.shipment import iso
from worker.ledger.records import Record, Working


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """An entry of the history; with `left_out`, entries that are not kept, and the rest is empty.

    `at`: when it began, in seconds since the epoch; None if unknown. `number`: None for a call in flight. Texts are as
    stored: escape them.
    """

    number: int | None = None
    left_out: int = 0
    at: float | None = None
    time: str = ""
    action: str = ""
    strategy: str | None = None
    outcome: str | None = None
    reason: str | None = None
    message: str | None = None
    correlation_id: str | None = None
    duration_ms: float | None = None

    @property
    def is_in_flight(self) -> bool:
        """Whether it is a call that may still be in flight."""
        return self.number is None and not self.left_out


def history_rows(record: Record) -> Iterator[Row]:
    """The kept entries, oldest first, with the gaps between them; at the end a call in flight."""
    before = 0
    for number, entry in record.history:
        if number > before + 1:
            yield Row(left_out=number - before - 1)
        before = number
        yield _row(number, entry)
    if isinstance(record.where, Working) and (at := record.where.called_at) is not None:
        strategy = str(record.shipment.strategy) if record.shipment.steps else None
        yield Row(at=at, time=_written(iso(at)), action="allocate", strategy=strategy, outcome="in flight")


def _row(number: int, entry: Any) -> Row:
    stated = entry if isinstance(entry, dict) else {"message": str(entry)}
    at = _text(stated, "at") or ""
    return Row(
        number=number,
        at=_seconds(at),
        time=_written(at),
        action=_text(stated, "action") or "",
        strategy=_strategy(stated),
        outcome=_text(stated, "outcome"),
        reason=_text(stated, "reason"),
        message=_text(stated, "message"),
        correlation_id=_text(stated, "correlation_id"),
        duration_ms=_milliseconds(stated),
    )


def _text(entry: dict[str, Any], name: str) -> str | None:
    return None if entry.get(name) is None else str(entry[name])


def _milliseconds(entry: dict[str, Any]) -> float | None:
    took = entry.get("duration_ms")
    return took if isinstance(took, int | float) and math.isfinite(took) and took >= 0 else None


def _written(at: str) -> str:
    return at.replace("T", " ")


def _seconds(at: str) -> float | None:
    try:
        return datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _strategy(entry: dict[str, Any]) -> str | None:
    """The strategy of an attempt; of a replay, the rule that it chose."""
    strategy = entry.get("strategy")
    if strategy is not None:
        return strategy_text(strategy) if isinstance(strategy, dict) else str(strategy)
    return f"rule {entry['by']}" if "by" in entry else None
