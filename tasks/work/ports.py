"""The values and protocols that work on shipments depends on; the worker provides the implementations."""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from config.merchant_files.merchant_file import Merchant
from tasks.rules.outcome import Feedback, Purpose
from tasks.rules.shipment import Shipment
from tasks.rules.unreadable import UnreadableRecord

Verdict = Literal["keep", "hand", "park", "allocated", "failed"]


class Pause(NamedTuple):
    """Why a merchant is paused. `purpose`: the purpose of the refused request, or '' if a key or file is missing.

    `refused`, `strategy`: the shipment that was refused, and its strategy; another shipment becomes the probe first.
    """

    why: str
    purpose: Purpose | Literal[""] = ""
    retry_after_s: float = 0.0
    refused: str = ""
    strategy: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """Shipments of one merchant, claimed together under one lease token.

    `paused`: the merchant's pause, if any; `probe`: the shipment that may be called for despite it.
    `permitted`: the shipments whose first call was permitted with the claim, which was sent at `requested_at` (seconds
    by `tasks.work.clock.boottime`). `stopped`: the breakers and merchants that are blocked now (`b:api`, `h:host`).
    """

    merchant: str
    lease_token: str
    paused: Pause | None
    shipments: tuple[Shipment, ...]
    unreadable: tuple[UnreadableRecord, ...] = ()
    probe: str = ""
    permitted: frozenset[str] = frozenset()
    requested_at: float = 0.0
    stopped: frozenset[str] = frozenset()


class PermitRequest(NamedTuple):
    """A request for a permit to call an API for a shipment. `api`: host and key.

    `per_second`, `in_flight`: the merchant's limits, 0 for none.
    """

    shipment: Shipment
    lease_token: str
    purpose: Purpose
    per_second: float = 0.0
    in_flight: int = 0
    api: str = ""


class Permit(NamedTuple):
    """Whether the task still owns the shipment, and in how many seconds it may call.

    `park`: the wait is too long for a task. `busy`: all slots of the merchant are in use. `slot`: a slot was taken (a
    call in flight, or the probe of an open breaker), which must be returned after the call, or if it is not made.
    `by_limit`: the call is delayed by a limit of the merchant file, not by the API.
    """

    owned: bool
    wait_s: float = 0.0
    park: bool = False
    busy: bool = False
    slot: bool = False
    by_limit: bool = False

    @property
    def may_call(self) -> bool:
        """Whether the call may be sent after `wait_s`."""
        return self.owned and not self.park and not self.busy


class Report(NamedTuple):
    """The result of a request for a shipment: an entry for its history, and the verdict.

    `due`: seconds since the epoch; for an allocated shipment, when its carrier is rechecked (0: never). `feedback`: how
    the API responded, if it was called. `slot`: the slot of the permit is returned. `repeated_calls`: calls made after
    an open call, which no earlier report has counted. `quiet_until`, `near_deadline`: until when a parked shipment is
    in its quiet time, and when three quarters of its time are over; 0 if that does not apply. `adopted`: allocated
    according to a read-back. `settled_s`: the seconds from its event until it was settled; None unless it is.
    """

    shipment: Shipment
    lease_token: str
    verdict: Verdict
    entry: Mapping[str, Any] | None = None
    due: float = 0.0
    event: str = ""
    reason: str = ""
    api: str = ""
    feedback: Feedback | None = None
    slot: bool = False
    repeated_calls: int = 0
    quiet_until: float = 0.0
    near_deadline: float = 0.0
    adopted: bool = False
    settled_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """A merchant's valid file and its key, as last read.

    `digest` changes when either does. `api` identifies host and key without exposing the key: merchants that share both
    share a breaker.
    """

    merchant: Merchant
    key: str | None = field(repr=False)
    digest: str
    api: str


class Request(NamedTuple):
    """The shipments of one request, and its write deadline: a late request is not sent (`permit_expired`).

    `write_by`: seconds by `tasks.work.clock.boottime`.
    """

    references: Sequence[str]
    write_by: float


class Ledger(Protocol):
    """The durable record of every shipment and its schedule."""

    def now(self) -> float:
        """Upper bound of the time by the ledger's clock, in seconds since the epoch."""

    def earliest(self) -> float:
        """Lower bound of the same; the send time of requests, which must not seem later, as after a quiet time."""

    def permit(self, request: PermitRequest) -> Awaitable[Permit]:
        """Whether this task still owns the shipment and when it may call; records that a call is about to be sent."""

    async def permit_all(self, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        """As `permit`, for each request; results in the same order."""

    async def permit_bulk(self, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        """As `permit_all`, for one bulk call; if the first may not call, only its permit is returned."""

    def report(self, report: Report) -> Awaitable[bool]:
        """Write the result for a shipment; False if this task no longer owns it."""

    async def report_all(self, reports: Sequence[Report]) -> Sequence[bool]:
        """As `report`, for each report; results in the same order."""

    async def history(self, shipment: Shipment) -> Sequence[dict[str, Any]]:
        """The kept entries of a shipment's history, oldest first."""

    async def pause(self, merchant: str, pause: Pause, digest: str, probe: str = "") -> bool:
        """Pause a merchant; False if it was already paused. `probe`: the probe that was refused again, if any."""

    async def resume(self, merchant: str) -> int:
        """Lift a pause; returns how many shipments are due again."""

    async def last_good(self, api: str, purpose: Purpose) -> float:
        """When the API last gave a good response to this purpose, in seconds since the epoch; 0 if never.

        For read-backs, good responses to any purpose count.
        """

    async def first_denial(self, api: str, reference: str) -> bool:
        """Whether no other shipment got a 403 from this API recently; records that this one did."""

    async def split(self, merchant: str, strategy: str, lease_token: str) -> bool:
        """Whether this task may split a refused bulk call now: one split at a time per merchant and step."""

    async def split_over(self, merchant: str, strategy: str, lease_token: str) -> None:
        """End the split, so that another task may split."""
