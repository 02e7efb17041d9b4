"""What a call to the allocation API came to: one of nine values, never an exception."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple


class Carrier(NamedTuple):
    """The carrier service that took the shipment, as far as the API named it."""

    reference: str | None = None
    name: str | None = None
    service_reference: str | None = None
    service_name: str | None = None


class Price(NamedTuple):
    """The price in the API's own decimal text, never through a float."""

    net: str | None = None
    gross: str | None = None
    currency: str | None = None


class Label(NamedTuple):
    """A link to a label; `format` is lower case ("pdf", "zpl") or None when the API did not say."""

    href: str
    format: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Allocated:
    """A carrier service has the shipment: the body said so."""

    carrier: Carrier | None = None
    price: Price | None = None
    tracking_references: tuple[str, ...] = ()
    labels: tuple[Label, ...] = ()
    correlation_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the outcomes without an allocation have in common.

    `reason` is a slug (the API's child code where it gave one), `message` a text for a person.
    """

    reason: str
    message: str = ""
    correlation_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Queued(Answer):
    """The API took the shipment in (202, `allocating`) and will decide later: read it back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NotYet(Answer):
    """The shipment is still being created on the other side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused(Answer):
    """A definite no to this step. Only this outcome leads to the next step of the plan.

    `certain` is false for a refusal that names no cause: it may just as well mean "already allocated"
    and is read back before it counts.
    """

    certain: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Throttled(Answer):
    """Too many calls; `retry_after_s` in seconds when the API said how long."""

    retry_after_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NotSent(Answer):
    """No byte of the request left this machine: safe to try again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown(Answer):
    """The call may have gone through: the next thing is a read-back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped(Answer):
    """No other step can help. `reason` is one of `StopReason`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unallocated(Answer):
    """Read-back only: the shipment may be allocated. `state` is the API's own word in lower case."""

    reason: str = field(default="unallocated")
    state: Literal["unallocated", "allocation_failed"] = "unallocated"


StopReason = Literal["shipment_not_found", "shipment_gone", "unauthorised", "invalid_request", "wrong_state"]

Outcome = Allocated | Queued | NotYet | Refused | Throttled | NotSent | Unknown | Stopped
"""What an attempt came to."""

Finding = Outcome | Unallocated
"""What a read-back came to."""

Health = Literal["good", "bad", "throttled"]
"""How an API did in one call: a refusal is a good answer, a server error or none at all a bad one."""

_BAD_ANSWERS = frozenset({"timeout", "lost_answer", "server_error", "unreadable_answer", "unexpected_status"})


def health(finding: Finding) -> Health:
    """What an outcome tells about the API rather than about the shipment."""
    match finding:
        case Throttled():
            return "throttled"
        case NotSent():
            return "bad"
        case Unknown(reason=reason) if reason in _BAD_ANSWERS:
            return "bad"
        case _:
            return "good"


WORDS: dict[type[Finding], str] = {
    Allocated: "allocated",
    Queued: "queued",
    NotYet: "not_yet",
    Refused: "refused",
    Throttled: "throttled",
    NotSent: "not_sent",
    Unknown: "unknown",
    Stopped: "stopped",
    Unallocated: "unallocated",
}
"""The word for each outcome in the ledger, the events and the logs."""
