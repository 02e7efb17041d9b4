"""A shipment while it is being worked on: what was fixed at intake, and its progress."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Unpack

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from config.strategies.catalogue import AnyStrategy
from tasks.rules.frozen import construct, with_changes
from tasks.rules.order import Order
from tasks.rules.plan import Facts, Plan
from tasks.rules.progress import OpenKind, Progress, ProgressChanges, parse_progress

KEPT_FIRST = KEPT_LAST = 20
"""How many entries of a history are kept from its start and from its end."""


@dataclass(frozen=True, kw_only=True)
class Shipment:
    """One shipment as a task works on it. Times are seconds since the epoch by the ledger's clock.

    `losses`: worker losses that it caused. `cleared_until`: until when the last read-back allows a call. `cancelled`:
    who cancelled it and why; '' if nobody did. `merchant_file`: the digest of the file that chose the plan.
    """

    merchant: str
    reference: str
    order: str
    order_event: str
    api: str
    rule: str
    steps: tuple[AnyStrategy, ...]
    received: float
    published: float
    progress: Progress
    losses: int = 0
    replays: int = 0
    cleared_until: float = 0.0
    cancelled: str = ""
    merchant_file: str | None = None

    @property
    def strategy(self) -> AnyStrategy:
        """The present step."""
        return self.steps[self.progress.step]

    @property
    def has_fallback(self) -> bool:
        """Whether another step follows the present one."""
        return self.progress.step + 1 < len(self.steps)

    def with_progress(self, **changes: Unpack[ProgressChanges]) -> "Shipment":
        """The same shipment with changed progress."""
        return with_changes(self, {"progress": with_changes(self.progress, dict(changes))})

    def called(self, *, sent: bool = True) -> "Shipment":
        """The same shipment after one more attempt at its present step."""
        progress = self.progress
        changes: ProgressChanges = {"attempts": progress.attempts + 1, "attempted": progress.step}
        if sent and progress.open_kind is not None:
            changes["repeated_calls"] = progress.repeated_calls + 1
        return self.with_progress(**changes)

    def opened(self, kind: OpenKind, at: float, **changes: Unpack[ProgressChanges]) -> "Shipment":
        """The same shipment with an open call that ended at this time, as seen by the worker."""
        opened: ProgressChanges = {
            "open_kind": kind,
            "open_at": at,
            "quiet_from": at,
            "also_open": False,
            "give_up_at": None,
            "read_before": self.progress.last_read,
            "last_read": None,
            "read_at": 0.0,
            "allocating_since": at if kind == "queued" else None,
            "unread": False,
            "waits": 0,
        }
        return self.with_progress(**(opened | changes)).cleared(0.0)

    def cleared(self, until: float) -> "Shipment":
        """The same shipment, which a read-back allows to be called for until then."""
        return with_changes(self, {"cleared_until": until})


def intake_record(order: Order, facts: Facts, plan: Plan, api: str, merchant_file: str) -> str:
    """What the ledger fixes at intake, as JSON: rule, plan, facts, and the digest of the merchant file."""
    fixed = {
        "order": order.data.order,
        "event": order.event_id,
        "api": api,
        "merchant_file": merchant_file,
        "rule": plan.rule,
        "why": plan.why,
        "steps": [step.table for step in plan.steps],
        "facts": facts.as_table(),
    }
    return to_json(fixed).decode()


def published_s(order: Order) -> float | None:
    """The event's own time in seconds since the epoch, when it stated one."""
    return order.published.timestamp() if order.published else None


def from_record(merchant: str, reference: str, record: Mapping[str, Any]) -> Shipment:
    """A shipment from the fields of its record.

    Raises ValueError, KeyError, TypeError or AttributeError for a record that this version cannot read.
    """
    facts = from_json(record["intake"] or b"{}")
    received = float(record["received"] or 0) / 1000
    progress = parse_progress(record.get("progress"))
    fixed = {
        "merchant": merchant,
        "reference": reference,
        "order": facts["order"],
        "order_event": facts["event"],
        "api": facts["api"],
        "rule": facts["rule"],
        "steps": _steps_at(facts["steps"], progress.step),
        "received": received,
        "published": min(received, float(record.get("published") or received)),
        "progress": progress,
        "losses": int(record.get("losses") or 0),
        "replays": int(record.get("replays") or 0),
        "cleared_until": 0.0,
        "cancelled": _cancelled(record.get("cancelled")),
        "merchant_file": facts.get("merchant_file"),
    }
    return _as_found(construct(Shipment, fixed), record)


def _cancelled(order: bytes | None) -> str:
    if not order:
        return ""
    stated = from_json(order)
    return f"cancelled by {stated['by']}: {stated['why']}"


def _as_found(shipment: Shipment, record: Mapping[str, Any]) -> Shipment:
    """The shipment with what happened since its last report: a worker lost during a call, a new epoch of the server."""
    lost_call_ms, changed_ms = float(record.get("lost_call_at") or 0), float(record.get("in_doubt_since") or 0)
    if lost_call_ms:
        lost = shipment.progress
        again = lost.repeated_calls + (lost.open_kind is not None)
        shipment = shipment.opened("unknown", lost_call_ms / 1000, attempted=lost.step, repeated_calls=again)
    progress, changed = shipment.progress, changed_ms / 1000
    if changed <= progress.open_at:
        return shipment
    if progress.open_kind == "queued":
        # Both may be open: the longer time stays, and no state decides the queued call any more before it is over.
        return shipment.with_progress(
            open_at=changed, quiet_from=max(progress.quiet_from, changed), also_open=True, last_read=None
        )
    return shipment.opened("unknown", changed)


def stopped_call(shipment: Shipment, now: float) -> Shipment:
    """The shipment once its call is no longer awaited."""
    return shipment.called().opened("unknown", now, open_calls=shipment.progress.open_calls + 1)


def _steps_at(tables: Any, present: int) -> tuple[AnyStrategy, ...]:
    """The steps, one of which is the present one."""
    steps = _steps(to_json(tables))
    if not 0 <= present < len(steps):
        raise ValueError(f"its step is {present}, of {len(steps)}")
    return steps


_PLAN = TypeAdapter(tuple[AnyStrategy, ...])


@lru_cache(maxsize=4096)
def _steps(tables: bytes) -> tuple[AnyStrategy, ...]:
    """Plans repeat, so each is built once."""
    return _PLAN.validate_json(tables, strict=False)


def entry_field(entry: int) -> str:
    """The record field of the nth history entry (from 1): the first ones stay, the last ones form a ring."""
    if entry <= KEPT_FIRST:
        return f"entry:{entry}"
    return f"entry:{KEPT_FIRST + 1 + (entry - KEPT_FIRST - 1) % KEPT_LAST}"


def iso(seconds: float) -> str:
    """A time as in events: UTC, milliseconds, `Z`."""
    milliseconds = round(seconds * 1000)
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
