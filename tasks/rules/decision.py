"""Decisions: what to do next with a shipment, and the context of a decision. Values only."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from config.merchant_files.retry import Retry
from tasks.rules.outcome import Allocated
from tasks.rules.shipment import Shipment

FailReason = Literal[
    "shipment_not_found",
    "shipment_gone",
    "unauthorised",
    "invalid_request",
    "all_steps_refused",
    "conflict",
    "attempts_exhausted",
    "deadline_passed",
    "wrong_state",
    "stuck_allocating",
    "worker_lost",
    "unreadable_record",
    "cancelled_by_operator",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settle:
    """It is allocated. `adopted`: found by a read-back, not by the response to a call."""

    shipment: Shipment
    allocated: Allocated
    adopted: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """Call for the present step, after a pause in seconds."""

    shipment: Shipment
    pause_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadBack:
    """Read the shipment back, after a pause in seconds."""

    shipment: Shipment
    pause_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class FallBack:
    """The present step was refused; the shipment is at the next one."""

    shipment: Shipment


@dataclass(frozen=True, kw_only=True, slots=True)
class Park:
    """Wait in the schedule for `wait_s` seconds. `pause_merchant`: why the merchant is paused, if it is."""

    shipment: Shipment
    wait_s: float
    pause_merchant: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fail:
    """It will not be allocated; a person must act."""

    shipment: Shipment
    reason: FailReason
    message: str


Decision = Settle | Call | ReadBack | FallBack | Park | Fail

REQUESTS = (Call, ReadBack)
"""The decisions after which the visit continues (a tuple, as `isinstance` is slow with a union)."""


class Context(NamedTuple):
    """All a decision needs besides the shipment and the outcome.

    `now`: seconds since the epoch by the ledger's clock; `random`: in [0, 1); `tries`: requests made in this visit;
    `retry`, `timeout_s`: as in the merchant's file; `sent`: when the request was sent whose response is judged;
    `group_size`: how many shipments it carried.
    """

    now: float
    random: float
    tries: int
    retry: Retry
    timeout_s: float = 20.0
    sent: float = 0.0
    group_size: int = 1
