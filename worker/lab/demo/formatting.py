"""The history of a shipment as text, and parts of it for the table."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from config.strategies.strategy import strategy_text
from worker.lab.demo.observe import Seen

MAX_OF_A_REFERENCE = 14
"""Longer references are cut in the table, but nowhere else."""


def request_text(entry: Mapping[str, Any]) -> str:
    """One history entry: the request and its outcome."""
    what = "read it back" if entry["action"] == "read" else f"called {strategy_text(entry['strategy'])}"
    outcome, reason = entry["outcome"], entry.get("reason")
    return f"{what}: {outcome}" if reason in (None, outcome) else f"{what}: {outcome}, {reason}"


def carrier(seen: Seen) -> str:
    """The carrier, its service and the price, as far as the API named them."""
    price = seen.data.get("price") or {}
    words = [seen.carrier.get("name"), seen.carrier.get("service_name")]
    if price.get("gross"):
        words.append(f"{price['gross']} {price.get('currency') or ''}".strip())
    return ", ".join(word for word in words if word)


def history(seen: Seen) -> Iterator[tuple[str, str]]:
    """A shipment as lines of a label and a text; the label of a request is its seconds since intake."""
    record = seen.record
    yield "rule", f"{record.shipment.rule} ({record.why})"
    for _, entry in record.history:
        at = datetime.fromisoformat(entry["at"]).timestamp() - record.shipment.received
        yield f"{max(0.0, at):.1f} s", request_text(entry)
    match seen.state:
        case "allocated":
            yield "carrier", carrier(seen)
        case "failed":
            yield "failed", f"{seen.data['reason']}: {seen.data['message']}"
        case "unsettled":
            yield "now", "not settled"


def short(reference: str) -> str:
    """A reference for a narrow column: its end, which differs between shipments."""
    if len(reference) <= MAX_OF_A_REFERENCE:
        return reference
    return f"..{reference[2 - MAX_OF_A_REFERENCE :]}"
