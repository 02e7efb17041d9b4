"""What the work on shipments needs from outside, as protocols; the process that runs it brings the real ones."""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from config.merchant_files.merchant_file import Merchant
from tasks.rules.outcome import Feedback, Purpose
from tasks.rules.shipment import Shipment
from tasks.rules.unreadable import UnreadableRecord

Verdict = Literal["keep", "hand", "park", "allocated", "failed"]


class Pause(NamedTuple):
    """Why nothing of a merchant is called for. `purpose`: what the API refused, or '' without a key or a file.

    `refused`, `strategy`: the shipment that was refused, and what was asked for it; another one tries first.
    """

    why: str
    purpose: Purpose | Literal[""] = ""
    retry_after_s: float = 0.0
    refused: str = ""
    strategy: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """Shipments of one merchant, claimed together under one lease token.

    `paused`: the merchant's pause, if there is one; `probe`: the shipment that may be called for all the same.
    `permitted`: the shipments whose first call was permitted with the claim, which was sent at `asked_at` (seconds by
    `tasks.work.clock.boottime`). `stopped`: the breakers and merchants that are blocked at present (`b:api`, `h:host`).
    """

    merchant: str
    lease_token: str
    paused: Pause | None
    shipments: tuple[Shipment, ...]
    unreadable: tuple[UnreadableRecord, ...] = ()
    probe: str = ""
    permitted: frozenset[str] = frozenset()
    asked_at: float = 0.0
    stopped: frozenset[str] = frozenset()


class PermitRequest(NamedTuple):
    """Asks to call an API for a shipment. `api`: host and key.

    `per_second`, `in_flight`: the merchant's limits, 0 for none.
    """

    shipment: Shipment
    lease_token: str
    purpose: Purpose
    per_second: float = 0.0
    in_flight: int = 0
    api: str = ""


class Permit(NamedTuple):
    """Whether the task still holds the shipment, and in how many seconds it may call.

    `park`: the wait is not worth a task's time. `busy`: all places in flight are taken. `slot`: what must be given
    back when the call is over, or was never made (a place in flight, the probe of an open breaker). `by_limit`: it is a
    limit of the merchant's file that stands in the way, and not the API.
    """

    owned: bool
    wait_s: float = 0.0
    park: bool = False
    busy: bool = False
    slot: bool = False
    by_limit: bool = False

    @property
    def may_call(self) -> bool:
        """Whether the call may go out after `wait_s`."""
        return self.owned and not self.park and not self.busy


class Report(NamedTuple):
    """What became of a shipment: an entry for its story, and the verdict.

    `due`: seconds since the epoch; of an allocated shipment, when its carrier is read once more (0: never). `feedback`:
    how the API did, where it was called. `slot`: a place of the permit is given back. `asked_again`: calls
    that came after an open one, as far as no report told of them yet.
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
    asked_again: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """A merchant's good file and its key, as found just now.

    `digest` changes when either does. `api` names the host and the key without telling it: merchants who share both
    share a breaker.
    """

    merchant: Merchant
    key: str | None = field(repr=False)
    digest: str
    api: str


class Request(NamedTuple):
    """The shipments of one request, and until when it must be written: later it is not sent (`permit_expired`).

    `write_by`: seconds by `tasks.work.clock.boottime`.
    """

    references: Sequence[str]
    write_by: float


class Ledger(Protocol):
    """The durable record of every shipment and its schedule."""

    def now(self) -> float:
        """Seconds since the epoch by the ledger's clock, at the latest: as far as its bounds are known."""

    def earliest(self) -> float:
        """The same at the earliest. A request counts as sent then: it must not seem to come after a quiet time."""

    def permit(self, request: PermitRequest) -> Awaitable[Permit]:
        """Whether this task still holds the shipment and when it may call; notes that a call is going out."""

    async def permit_all(self, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        """As `permit`, for each, in their order."""

    async def permit_bulk(self, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        """As `permit_all`, for one call; when the first may not call, the others are not asked for and not answered."""

    def report(self, report: Report) -> Awaitable[bool]:
        """Write what became of a shipment; False when this task does not hold it any more."""

    async def report_all(self, reports: Sequence[Report]) -> Sequence[bool]:
        """As `report`, for each, in their order."""

    async def history(self, shipment: Shipment) -> Sequence[dict[str, Any]]:
        """The kept entries of a shipment's story, oldest first."""

    async def pause(self, merchant: str, pause: Pause, digest: str, probe: str = "") -> bool:
        """Pause a merchant; False when it was paused already. `probe`: the shipment that tried, and was refused too."""

    async def resume(self, merchant: str) -> int:
        """Lift a pause; returns how many shipments are due again."""

    async def last_good(self, api: str, purpose: Purpose) -> float:
        """When the API last answered a call of this kind well, in seconds since the epoch; 0 if never.

        Of a read-back any kind counts.
        """

    async def first_denial(self, api: str, reference: str) -> bool:
        """Whether no other shipment got a 403 of this API in the last seconds; notes that this one did."""

    async def split(self, merchant: str, strategy: str, lease_token: str) -> bool:
        """Whether this task may split a refused call now: one at a time for a merchant and step."""

    async def split_over(self, merchant: str, strategy: str, lease_token: str) -> None:
        """Let another task split."""
