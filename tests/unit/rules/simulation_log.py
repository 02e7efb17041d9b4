"""The log of a simulated shipment: calls, read-backs and decisions."""

from dataclasses import dataclass

from tasks.rules.decision import Decision
from tasks.rules.outcome import Finding, Outcome
from tasks.rules.shipment import Shipment


@dataclass(frozen=True, kw_only=True)
class CallEntry:
    """An allocation call; `outcome` is None when no response was received."""

    start: float
    end: float
    shipment: Shipment
    outcome: Outcome | None
    is_lost: bool


@dataclass(frozen=True, kw_only=True)
class ReadBackEntry:
    """A read-back and its finding."""

    sent: float
    finding: Finding
    shipment: Shipment


@dataclass(frozen=True, kw_only=True)
class DecisionEntry:
    """A decision and its subject, and whether it was blocked by something other than the rules.

    `booked`: whether the API has a booking at that time, or will have one from an earlier call.
    """

    now: float
    decision: Decision
    booked: bool
    subject: CallEntry | ReadBackEntry | Outcome | None = None
    blocked: bool = False
