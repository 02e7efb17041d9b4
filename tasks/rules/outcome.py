"""What a call to the allocation API came to: a closed union of values, never an exception."""

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
class OutcomeBase:
    """What the outcomes without an allocation have in common.

    `reason` is a slug (the API's child code where it gave one), `message` a text for a person, `retry_after_s` the
    seconds of a `Retry-After` header (None when there was none).
    """

    reason: str
    message: str = ""
    correlation_id: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Queued(OutcomeBase):
    """The API took the shipment in (202, `allocating`) and will decide later: read it back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NotYet(OutcomeBase):
    """The shipment is still being created on the other side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused(OutcomeBase):
    """A definite no to this step. Only this outcome leads to the next step of the plan.

    `certain` is false for a refusal that names no cause: it may just as well mean "already allocated"
    and is read back before it counts. The reason `conflict` opens a call: a gateway may have sent our request twice.
    """

    certain: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class BulkRefused(OutcomeBase):
    """A call for several shipments was refused as a whole, and the cause may lie in any one of them.

    `partly`: some of them may have been allocated all the same (v1, or with a conflict or a wrong state, which open a
    call each time).
    """

    partly: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Throttled(OutcomeBase):
    """Too many calls."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NotSent(OutcomeBase):
    """The request did not reach the API: no byte left this machine, or something else answered in its place.

    The reason is `not_sent`, `permit_expired` (the request was not written in time) or `foreign_answer` (an ingress or
    a proxy answered with a 4xx or 521 of its own).
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown(OutcomeBase):
    """The call may have gone through: the next thing is a read-back. `by_api`: the API itself answered, in its form."""

    by_api: bool = field(default=False, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped(OutcomeBase):
    """No other step can help. `reason` is one of `StopReason`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unallocated(OutcomeBase):
    """Read-back only: the shipment may be allocated. `state` is the API's own word in lower case."""

    reason: str = field(default="unallocated")
    state: Literal["unallocated", "allocation_failed"] = "unallocated"


StopReason = Literal[
    "shipment_not_found", "shipment_gone", "unauthorised", "forbidden", "invalid_request", "wrong_state"
]
DENIED = ("unauthorised", "forbidden", "forbidden_here")
"""401, 403, and a 403 that others with the same key do not get."""

Outcome = Allocated | Queued | NotYet | Refused | BulkRefused | Throttled | NotSent | Unknown | Stopped
"""What an attempt came to."""

Finding = Outcome | Unallocated
"""What a read-back came to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quoted:
    """Asked for quotes, the API made an offer: the reference of the best one that has not expired."""

    reference: str


Signal = Literal["good", "bad", "foreign", "throttled", "denied"]
"""How an API did in one call: a refusal is a good answer, a server error or none at all a bad one.

`foreign`: something else answered in the API's place. `denied`: the API refused the key (401, 403).
"""

Purpose = Literal["read", "allocate", "quote"]


class Feedback(NamedTuple):
    """How an API did in a request: for its breaker, the merchant's window, and what it asked to wait for."""

    signal: Signal | Literal[""]
    purpose: Purpose
    retry_after_s: float = 0.0


FOREIGN = "foreign_answer"
PERMIT_EXPIRED = "permit_expired"
UNREADABLE_ANSWER = "unreadable_answer"

_BAD_ANSWERS = frozenset(
    {"timeout", "lost_answer", "server_error", UNREADABLE_ANSWER, "half_an_answer", "unexpected_status"}
)


def signal_of(finding: Finding) -> Signal:
    """What an outcome tells about the API rather than about the shipment."""
    match finding:
        case Throttled():
            return "throttled"
        case NotSent():
            return "foreign" if finding.reason == FOREIGN else "bad"
        case Stopped(reason=reason) if reason in DENIED:
            return "denied"
        case Unknown(reason=reason) if reason in _BAD_ANSWERS:
            return "bad"
        case _:
            return "good"


WORDS: dict[type[Finding], str] = {
    Allocated: "allocated",
    Queued: "queued",
    NotYet: "not_yet",
    Refused: "refused",
    BulkRefused: "refused",
    Throttled: "throttled",
    NotSent: "not_sent",
    Unknown: "unknown",
    Stopped: "stopped",
    Unallocated: "unallocated",
}
"""The word for each outcome in the ledger, the events and the logs."""
