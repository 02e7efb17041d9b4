"""A shipment while it is being worked on: what is fixed since intake, and how far it has come."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from config.strategies.catalogue import AnyStrategy
from tasks.order import Order
from tasks.plan import Facts, Plan

KEPT_FIRST = KEPT_LAST = 20
"""How many entries of a story are kept from its beginning and from its end."""


Value = TypeVar("Value")


def _further(value: Value, changes: dict[str, Any]) -> Value:
    """A copy with some fields changed.

    As `dataclasses.replace`, which runs every field through a frozen `__init__`: twenty times as slow, and every
    shipment passes here several times.
    """
    return _made(type(value), value.__dict__ | changes)


def _made(kind: type[Value], fields_of: dict[str, Any]) -> Value:
    """A value with all its fields, past the frozen `__init__`."""
    made = object.__new__(kind)
    made.__dict__.update(fields_of)
    return made


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a shipment has come; written with every verdict, so that any worker can go on from here.

    `doubt`: a call may have gone through and has not been read back. `unread_refusal`: a no that might mean "already
    allocated" and counts once a read-back says unallocated; `unread_message`: what the API said with it. `queued_at`:
    seconds since the epoch at which the API took the shipment in for this step. `unknowns`: calls of this step that
    came back unknown. `waits`: times parked since anything moved, the exponent of the backoff. `attempted`: the last
    step of this plan that was called for.
    """

    step: int = 0
    doubt: bool = False
    unread_refusal: str | None = None
    unread_message: str = ""
    queued_at: float | None = None
    unknowns: int = 0
    waits: int = 0
    attempts: int = 0
    attempted: int | None = None
    entries: int = 0
    last_refusal: str | None = None

    def as_json(self) -> str:
        """Only what differs from the beginning."""
        return to_json({name: value for name, value in self.__dict__.items() if value != _DEFAULTS[name]}).decode()

    @property
    def must_read(self) -> bool:
        """Whether the next call must be a read-back."""
        return self.doubt or self.queued_at is not None or self.unread_refusal is not None


BEGINNING = Progress()

_DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(Progress)}


@dataclass(frozen=True, kw_only=True)
class Shipment:
    """One shipment in a task's hands. Times are seconds since the epoch by the ledger's clock."""

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

    @property
    def strategy(self) -> AnyStrategy:
        """The present step."""
        return self.steps[self.progress.step]

    @property
    def has_fallback(self) -> bool:
        """Whether another step follows the present one."""
        return self.progress.step + 1 < len(self.steps)

    def with_progress(self, **changes: Any) -> "Shipment":  # fields of Progress, checked by it
        """The same shipment, further on."""
        return _further(self, {"progress": _further(self.progress, changes)})

    def called(self) -> "Shipment":
        """The same shipment after one more attempt at its present step."""
        return self.with_progress(attempts=self.progress.attempts + 1, attempted=self.progress.step)


def intake_facts(order: Order, facts: Facts, plan: Plan, api: str) -> str:
    """What the ledger fixes at intake, as JSON: rule, plan and the facts they read."""
    fixed = {
        "order": order.data.order,
        "event": order.event_id,
        "api": api,
        "rule": plan.rule,
        "why": plan.why,
        "steps": [step.as_table() for step in plan.steps],
        "facts": facts.as_table(),
    }
    return to_json(fixed).decode()


def published_s(order: Order) -> float | None:
    """The event's own time in seconds since the epoch, when it stated one."""
    return order.published.timestamp() if order.published else None


def from_ledger(merchant: str, reference: str, record: Mapping[str, Any]) -> Shipment:
    """A shipment from the fields of its record."""
    facts = from_json(record["facts"] or b"{}")
    received = float(record["received"] or 0) / 1000
    fixed = {
        "merchant": merchant,
        "reference": reference,
        "order": facts["order"],
        "order_event": facts["event"],
        "api": facts["api"],
        "rule": facts["rule"],
        "steps": _steps(to_json(facts["steps"])),
        "received": received,
        "published": min(received, float(record.get("published") or received)),
        "progress": Progress(**from_json(record["progress"])) if record.get("progress") else BEGINNING,
        "losses": int(record.get("lost") or 0),
        "replays": int(record.get("replays") or 0),
    }
    shipment = _made(Shipment, fixed)
    if record.get("doubt") == b"1":
        # A worker was lost while its call may have been on its way.
        return lost_call(shipment)
    # Or the server was started again and may have forgotten a call.
    return shipment.with_progress(doubt=True) if record.get("unsure") else shipment


def lost_call(shipment: Shipment) -> Shipment:
    """The shipment once nobody waits for the answer to its call any more: that call counts as one come back unknown."""
    return shipment.called().with_progress(doubt=True, unknowns=shipment.progress.unknowns + 1)


_PLAN = TypeAdapter(tuple[AnyStrategy, ...])


@lru_cache(maxsize=4096)
def _steps(tables: bytes) -> tuple[AnyStrategy, ...]:
    """Plans repeat, so each is built once."""
    return _PLAN.validate_json(tables, strict=False)


def slot(entry: int) -> str:
    """Where the nth entry (from 1) of a story is kept: the first ones for good, the last ones in a ring."""
    if entry <= KEPT_FIRST:
        return f"entry:{entry}"
    return f"entry:{KEPT_FIRST + 1 + (entry - KEPT_FIRST - 1) % KEPT_LAST}"


def iso(seconds: float) -> str:
    """A time as the events write it: UTC, milliseconds, `Z`."""
    milliseconds = round(seconds * 1000)
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
