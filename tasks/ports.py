"""What the work on shipments needs from outside, as protocols; the process that runs it brings the real ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from config.merchants import Merchant
from config.strategies.catalogue import AnyStrategy
from tasks.outcome import Finding, Health, Outcome
from tasks.shipment import Shipment

Verdict = Literal["keep", "hand", "park", "allocated", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Handover:
    """What a Celery message says: whose shipments, how many, asking for what, and the token that proves the claim."""

    merchant: str
    shipments: int
    strategy: str
    token: str
    references: tuple[str, ...]
    step: int | None = None

    def as_message(self) -> dict[str, Any]:
        """References and ids only: the broker and Flower show all of it."""
        return {name: getattr(self, name) for name in self.__slots__ if getattr(self, name) is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """The shipments of a message that were still to be had, and what was claimed to go into the message's place.

    `paused`: why the merchant is paused, or ''.
    """

    task: str
    paused: str
    shipments: tuple[Shipment, ...]
    claimed: tuple[Handover, ...] = ()


class PermitRequest(NamedTuple):
    """Asks to call an API for a shipment. `per_second`: the merchant's limit, 0 for none; `api`: host and key."""

    shipment: Shipment
    task: str
    purpose: Literal["renew", "read", "allocate"]
    per_second: float = 0.0
    api: str = ""


class Permit(NamedTuple):
    """Whether the task still holds the shipment, and in how many seconds it may call.

    `park`: the wait is not worth a task's time. `open`: it is the API's breaker that says so.
    """

    held: bool
    wait_s: float = 0.0
    park: bool = False
    open: bool = False

    @property
    def may_call(self) -> bool:
        """Whether the call may go out after `wait_s`."""
        return self.held and not self.park


class Report(NamedTuple):
    """What became of a shipment: an entry for its story, and the verdict. `due`: seconds since the epoch.

    `answer`: how the API did, where it was called.
    """

    shipment: Shipment
    task: str
    verdict: Verdict
    entry: Mapping[str, Any] | None = None
    due: float = 0.0
    event: str = ""
    reason: str = ""
    api: str = ""
    answer: Health | Literal[""] = ""


class Ledger(Protocol):
    """The durable record of every shipment and its schedule."""

    def now(self) -> float:
        """Seconds since the epoch by the ledger's clock."""

    async def take(self, handover: Handover, claim: int = 0) -> Taken:
        """Take the shipments of a message, as far as its token still holds, and claim so many batches in its place."""

    async def permit(self, request: PermitRequest) -> Permit:
        """Whether this task still holds the shipment and when it may call; notes that a call is going out."""

    async def permit_all(self, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        """As `permit`, for each, in their order."""

    async def permit_together(self, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        """As `permit_all`, for one call; when the first may not call, the others are not asked for and not answered."""

    async def report(self, report: Report) -> bool:
        """Write what became of a shipment; False when this task does not hold it any more."""

    async def report_all(self, reports: Sequence[Report]) -> Sequence[bool]:
        """As `report`, for each, in their order."""

    async def story(self, shipment: Shipment) -> Sequence[dict[str, Any]]:
        """The kept entries of a shipment's story, oldest first."""

    async def pause(self, merchant: str, why: str, digest: str) -> bool:
        """Pause a merchant until its key or file changes; False when it was paused already."""


class Api(Protocol):
    """A merchant's allocation API."""

    async def allocate(
        self, merchant: Merchant, key: str, strategy: AnyStrategy, references: Sequence[str]
    ) -> Mapping[str, Outcome]:
        """Ask for an allocation by one call; exactly one outcome for each reference."""

    async def read_back(self, merchant: Merchant, key: str, reference: str) -> Finding:
        """Read one shipment."""


class Telemetry(Protocol):
    """Who is told of what a person should know."""

    def failed(self, shipment: Shipment, reason: str, message: str) -> None:
        """A shipment failed for good."""

    def paused(self, merchant: str, why: str) -> None:
        """A merchant was paused."""


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
