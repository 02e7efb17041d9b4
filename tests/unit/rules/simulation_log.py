"""What is noted of a life: its calls, its readings and its decisions."""

from dataclasses import dataclass

from tasks.rules.decision import Decision
from tasks.rules.outcome import Finding, Outcome
from tasks.rules.shipment import Shipment


@dataclass(frozen=True, kw_only=True)
class Called:
    """A call for an allocation; `outcome` is None when nobody heard it."""

    start: float
    end: float
    shipment: Shipment
    outcome: Outcome | None
    is_lost: bool


@dataclass(frozen=True, kw_only=True)
class Looked:
    """A read-back, and what it said."""

    sent: float
    finding: Finding
    shipment: Shipment


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A decision, what it was about, and whether something stood in the way that no rule can change.

    `booked`: whether the API has a booking then, or will have one of a call that was made by then.
    """

    now: float
    decision: Decision
    booked: bool
    about: Called | Looked | Outcome | None = None
    hindered: bool = False
