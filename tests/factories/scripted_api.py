"""A scripted API, and recorded alerts."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from config.strategies.catalogue import AnyStrategy
from tasks.rules.outcome import BulkRefused, Finding, Outcome, Quoted
from tasks.rules.shipment import Shipment
from tasks.rules.unreadable import UnreadableRecord
from tasks.work.ports import Account, Request
from tests.factories.shipments import ALLOCATED, BULK_REFUSED, REFUSED


@dataclass(frozen=True, kw_only=True)
class Delayed:
    """A delayed result; an exception simulates a bug."""

    seconds: float
    result: Finding | Quoted | Exception


ScriptedResult = Finding | Quoted | Exception | Delayed


class RecordedRequest(NamedTuple):
    """A received request, with its time in seconds from the start."""

    do: Literal["call", "read", "quote"]
    references: tuple[str, ...]
    at: float
    write_by: float
    strategy: str = ""
    quote: str | None = None


@dataclass(kw_only=True)
class ScriptedApi:
    """Responds to calls and read-backs of each shipment in the order of the script; then allocates.

    A call that contains one of the `bad` is refused; a bulk call with `bulk_refusal` for all its shipments.
    """

    calls: dict[str, list[ScriptedResult]] = field(default_factory=lambda: defaultdict(list))
    read_backs: dict[str, list[ScriptedResult]] = field(default_factory=lambda: defaultdict(list))
    quotes: dict[str, list[ScriptedResult]] = field(default_factory=lambda: defaultdict(list))
    bad: set[str] = field(default_factory=set)
    bulk_refusal: BulkRefused = BULK_REFUSED
    requests: list[RecordedRequest] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    in_flight: int = 0
    most_in_flight: int = 0

    async def quote(self, account: Account, strategy: AnyStrategy, request: Request) -> Any:
        """The scripted quote, or a good one."""
        (reference,) = request.references
        self._record(account, RecordedRequest("quote", (reference,), _time(), request.write_by, str(strategy)))
        with self._count_in_flight():
            return await _next_result(self.quotes[reference], Quoted(reference=f"quote for {reference}"))

    async def allocate(
        self, account: Account, strategy: AnyStrategy, request: Request, quote: str | None = None
    ) -> Mapping[str, Outcome]:
        """One outcome for each shipment, once all of them are known."""
        references = tuple(request.references)
        self._record(account, RecordedRequest("call", references, _time(), request.write_by, str(strategy), quote))
        with self._count_in_flight():
            outcomes: dict[str, Any] = {}
            for reference in references:
                outcomes[reference] = await _next_result(self.calls[reference], ALLOCATED)
            if self.bad.intersection(references):
                return dict.fromkeys(references, self.bulk_refusal if len(references) > 1 else REFUSED)
            return outcomes

    async def read_back(self, account: Account, request: Request) -> Finding:
        """The scripted finding, or allocated."""
        (reference,) = request.references
        self._record(account, RecordedRequest("read", (reference,), _time(), request.write_by))
        with self._count_in_flight():
            found: Finding = await _next_result(self.read_backs[reference], ALLOCATED)
            return found

    @property
    def called(self) -> list[tuple[str, tuple[str, ...]]]:
        """Strategy and shipments of each call."""
        return [(requests.strategy, requests.references) for requests in self.requests if requests.do == "call"]

    @property
    def read(self) -> list[str]:
        """The shipments that were read back, in order."""
        return [requests.references[0] for requests in self.requests if requests.do == "read"]

    def times(self, do: str) -> list[float]:
        """The times of the requests of one kind."""
        return [requests.at for requests in self.requests if requests.do == do]

    def _record(self, account: Account, requests: RecordedRequest) -> None:
        self.requests.append(requests)
        self.keys.add(account.key)

    @contextmanager
    def _count_in_flight(self) -> Iterator[None]:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1


def _time() -> float:
    return asyncio.get_running_loop().time()


async def _next_result(script: list[ScriptedResult], otherwise: Any) -> Any:
    result = script.pop(0) if script else otherwise
    if isinstance(result, Delayed):
        await asyncio.sleep(result.seconds)
        result = result.result
    await asyncio.sleep(0)
    if isinstance(result, Exception):
        raise result
    return result


@dataclass(kw_only=True)
class RecordedAlerts:
    """The alerts that were sent."""

    failures: list[tuple[str, str]] = field(default_factory=list)
    pauses: list[tuple[str, str]] = field(default_factory=list)
    resumptions: list[tuple[str, int]] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    unreadable_records: list[str] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)

    def failed(self, shipment: Shipment, reason: str, _message: str) -> None:
        """A shipment failed."""
        self.failures.append((shipment.reference, reason))

    def paused(self, merchant: str, why: str) -> None:
        """A merchant was paused."""
        self.pauses.append((merchant, why))

    def resumed(self, merchant: str, shipments: int) -> None:
        """A merchant was resumed."""
        self.resumptions.append((merchant, shipments))

    def call_repeated(self, shipment: Shipment) -> None:
        """A call was repeated after an open call."""
        self.again.append(shipment.reference)

    def response_unreadable(self, shipment: Shipment, why: str) -> None:
        """A response cannot be read."""
        self.unread.append((shipment.reference, why))

    def unreadable(self, found: UnreadableRecord) -> None:
        """A record cannot be read."""
        self.unreadable_records.append(found.reference)
