"""What the scripts count: fields of the hashes `metrics` and `activity`, and how much each grows. Pure.

A field of `metrics` is a JSON list: the kind, then its labels; one of `activity` is `<what>:<merchant>`. Labels come
from merchant files and closed lists, never from events.
"""

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal

from config.strategies.strategy import strategy_text
from tasks.work.ports import Report

Kind = Literal[
    "allocated",
    "failed",
    "calls",
    "settle_bucket",
    "settle_ms",
    "merchant_settle_ms",
    "call_bucket",
    "call_ms",
    "merchant_call_ms",
]

SETTLE_BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
CALL_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)

_KNOWN_FIELDS = 50_000


@lru_cache(_KNOWN_FIELDS)
def field(kind: Kind, *labels: str | int) -> str:
    """The field of a counter."""
    return json.dumps([kind, *labels], separators=(",", ":"))


_WITHOUT_MERCHANT = frozenset({"rejected", "settle_bucket", "settle_ms", "call_bucket", "call_ms"})
"""Kinds whose first label is a reason or a host."""


def is_of_merchant(name: bytes, merchant: str) -> bool:
    """Whether a field of the hash counts something of this merchant."""
    kind, label, *_ = json.loads(name)
    return kind not in _WITHOUT_MERCHANT and label == merchant


def counted(report: Report) -> str:
    """What a report counts, once it is written: one line `<number> <field>` each."""
    grown = [*_call(report), *_settled(report)]
    return "\n".join(f"{by} {name}" for name, by in grown)


def _call(report: Report) -> Iterator[tuple[str, int]]:
    entry = report.entry
    if entry is None or "duration_ms" not in entry:
        return
    merchant, host, took_ms = report.shipment.merchant, _host(report.api), int(entry["duration_ms"])
    yield field("calls", merchant, entry["action"], strategy_text(entry["strategy"]), entry["outcome"]), 1
    yield field("call_bucket", host, entry["action"], _bucket(took_ms / 1000, CALL_BUCKETS_S)), 1
    yield field("call_ms", host, entry["action"]), took_ms
    yield field("merchant_call_ms", merchant), took_ms
    yield f"calls:{merchant}", 1
    if entry["outcome"] == "unknown":
        yield f"unknown:{merchant}", 1


def _settled(report: Report) -> Iterator[tuple[str, int]]:
    if report.settled_s is None:
        return
    shipment, host, took_s = report.shipment, _host(report.api), max(0.0, report.settled_s)
    if report.verdict == "allocated":
        step = shipment.progress.attempted
        strategy = "" if step is None else str(shipment.steps[step])
        yield field("allocated", shipment.merchant, shipment.rule, strategy, int(bool(step)), int(report.adopted)), 1
        yield f"allocated:{shipment.merchant}", 1
        yield f"allocate_ms:{shipment.merchant}", round(took_s * 1000)
        if step:
            yield f"fell_back:{shipment.merchant}", 1
    else:
        yield field("failed", shipment.merchant, shipment.rule, report.reason), 1
    yield field("settle_bucket", host, _bucket(took_s, SETTLE_BUCKETS_S)), 1
    yield field("settle_ms", host), round(took_s * 1000)
    yield field("merchant_settle_ms", shipment.merchant), round(took_s * 1000)


def _host(api: str) -> str:
    return api.partition("#")[0]


def _bucket(value_s: float, bounds: Sequence[float]) -> int:
    """The index of the first bound that is not below the value; their number if all are."""
    return bisect_left(bounds, value_s)
