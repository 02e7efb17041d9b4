"""Outcomes of calls to the allocation API: a closed union of values, never an exception."""

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
    """A link to a label; `format` is lower case ("pdf", "zpl") or None if the API did not state it."""

    href: str
    format: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Allocated:
    """A carrier service has the shipment, according to the body."""

    carrier: Carrier | None = None
    price: Price | None = None
    tracking_references: tuple[str, ...] = ()
    labels: tuple[Label, ...] = ()
    correlation_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OutcomeBase:
    """The fields that all outcomes without an allocation share.

    `reason` is a slug (the API's child code, if any), `message` a text for a person, `retry_after_s` the
    seconds of a `Retry-After` header (None when there was none).
    """

    reason: str
    message: str = ""
    correlation_id: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Queued(OutcomeBase):
    """The API queued the shipment (202, `allocating`) and decides later: read it back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NotYet(OutcomeBase):
    """The shipment is still being created at the API."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused(OutcomeBase):
    """A definite refusal of this step. Only this outcome leads to the next step of the plan.

    `certain` is false for a refusal that names no cause: it may also mean "already allocated"
    and is read back before it applies. The reason `conflict` opens a call: a gateway may have sent our request twice.
    """

    certain: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class BulkRefused(OutcomeBase):
    """A call for several shipments was refused as a whole, and the cause may lie in any one of them.

    `partly`: some of them may have been allocated (v1, or with a conflict or a wrong state, which open a
    call each time).
    """

    partly: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Throttled(OutcomeBase):
    """Too many calls."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NotSent(OutcomeBase):
    """The request did not reach the API: no byte left this machine, or the response is foreign.

    The reason is `not_sent`, `permit_expired` (the request was not written in time) or `foreign_response`
    (an ingress or a proxy sent its own 4xx or 521).
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown(OutcomeBase):
    """The call may have taken effect: a read-back follows. `by_api`: the response is the API's own."""

    by_api: bool = field(default=False, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped(OutcomeBase):
    """No other step can change it. `reason` is one of `StopReason`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unallocated(OutcomeBase):
    """Read-back only: the shipment may be allocated. `state` is the API's own word in lower case."""

    reason: str = field(default="unallocated")
    state: Literal["unallocated", "allocation_failed"] = "unallocated"


StopReason = Literal[
    "shipment_not_found", "shipment_gone", "unauthorised", "forbidden", "invalid_request", "wrong_state"
]
DENIED = ("unauthorised", "forbidden", "forbidden_here")
"""401, 403, and a 403 of the shipment's own."""

Outcome = Allocated | Queued | NotYet | Refused | BulkRefused | Throttled | NotSent | Unknown | Stopped
"""The result of an attempt."""

Finding = Outcome | Unallocated
"""The result of a read-back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quoted:
    """The result of a request for quotes: the reference of the best one that has not expired."""

    reference: str


Signal = Literal["good", "bad", "foreign", "throttled", "denied"]
"""How an API responded in one call: a refusal is good; a server error or no response is bad.

`foreign`: the response came from something in front of the API. `denied`: the API refused the key (401, 403).
"""

Purpose = Literal["read", "allocate", "quote"]


class Feedback(NamedTuple):
    """How an API responded to a request: for its breaker, the merchant's window, and Retry-After."""

    signal: Signal | Literal[""]
    purpose: Purpose
    retry_after_s: float = 0.0


FOREIGN = "foreign_response"
PERMIT_EXPIRED = "permit_expired"
UNREADABLE_RESPONSE = "unreadable_response"

_BAD_REASONS = frozenset(
    {"timeout", "lost_response", "server_error", UNREADABLE_RESPONSE, "incomplete_response", "unexpected_status"}
)


def signal_of(finding: Finding) -> Signal:
    """What an outcome shows about the API rather than about the shipment."""
    match finding:
        case Throttled():
            return "throttled"
        case NotSent():
            return "foreign" if finding.reason == FOREIGN else "bad"
        case Stopped(reason=reason) if reason in DENIED:
            return "denied"
        case Unknown(reason=reason) if reason in _BAD_REASONS:
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
