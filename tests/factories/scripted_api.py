"""An API that answers by its script, and who is told of what a person should know."""

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
from tests.factories.shipments import ALLOCATED, REFUSED, TOGETHER


@dataclass(frozen=True, kw_only=True)
class After:
    """An answer that takes its time; an exception in its place is a bug on the way."""

    seconds: float
    answer: Finding | Quoted | Exception


Said = Finding | Quoted | Exception | After


class Feedback(NamedTuple):
    """A request as it came in, so many seconds after the beginning."""

    do: Literal["call", "read", "quote"]
    references: tuple[str, ...]
    at: float
    write_by: float
    strategy: str = ""
    quote: str | None = None


@dataclass(kw_only=True)
class ScriptedApi:
    """Answers each shipment's calls and readings in the order of the test's script; after it, allocates.

    A call for one of the `bad` is refused, and for everybody in it as `together` says.
    """

    calls: dict[str, list[Said]] = field(default_factory=lambda: defaultdict(list))
    readings: dict[str, list[Said]] = field(default_factory=lambda: defaultdict(list))
    quotes: dict[str, list[Said]] = field(default_factory=lambda: defaultdict(list))
    bad: set[str] = field(default_factory=set)
    together: BulkRefused = TOGETHER
    feedback: list[Feedback] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    on_wire: int = 0
    most_on_wire: int = 0

    async def quote(self, account: Account, strategy: AnyStrategy, request: Request) -> Any:
        """The quote that the script says, and otherwise a good one."""
        (reference,) = request.references
        self._hear(account, Feedback("quote", (reference,), _time(), request.write_by, str(strategy)))
        with self._wire():
            return await _say(self.quotes[reference], Quoted(reference=f"quote for {reference}"))

    async def allocate(
        self, account: Account, strategy: AnyStrategy, request: Request, quote: str | None = None
    ) -> Mapping[str, Outcome]:
        """One outcome for each, once all of them are there."""
        references = tuple(request.references)
        self._hear(account, Feedback("call", references, _time(), request.write_by, str(strategy), quote))
        with self._wire():
            answers: dict[str, Any] = {}
            for reference in references:
                answers[reference] = await _say(self.calls[reference], ALLOCATED)
            if self.bad.intersection(references):
                return dict.fromkeys(references, self.together if len(references) > 1 else REFUSED)
            return answers

    async def read_back(self, account: Account, request: Request) -> Finding:
        """Where a shipment stands."""
        (reference,) = request.references
        self._hear(account, Feedback("read", (reference,), _time(), request.write_by))
        with self._wire():
            found: Finding = await _say(self.readings[reference], ALLOCATED)
            return found

    @property
    def called(self) -> list[tuple[str, tuple[str, ...]]]:
        """What each call asked for, and for whom."""
        return [(feedback.strategy, feedback.references) for feedback in self.feedback if feedback.do == "call"]

    @property
    def read(self) -> list[str]:
        """Who was read back."""
        return [feedback.references[0] for feedback in self.feedback if feedback.do == "read"]

    def times(self, do: str) -> list[float]:
        """When each request of a kind came in."""
        return [feedback.at for feedback in self.feedback if feedback.do == do]

    def _hear(self, account: Account, feedback: Feedback) -> None:
        self.feedback.append(feedback)
        self.keys.add(account.key)

    @contextmanager
    def _wire(self) -> Iterator[None]:
        self.on_wire += 1
        self.most_on_wire = max(self.most_on_wire, self.on_wire)
        try:
            yield
        finally:
            self.on_wire -= 1


def _time() -> float:
    return asyncio.get_running_loop().time()


async def _say(script: list[Said], otherwise: Any) -> Any:
    said = script.pop(0) if script else otherwise
    if isinstance(said, After):
        await asyncio.sleep(said.seconds)
        said = said.answer
    await asyncio.sleep(0)
    if isinstance(said, Exception):
        raise said
    return said


@dataclass(kw_only=True)
class Told:
    """What a person was told."""

    failures: list[tuple[str, str]] = field(default_factory=list)
    pauses: list[tuple[str, str]] = field(default_factory=list)
    resumptions: list[tuple[str, int]] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    unreadable_records: list[str] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)

    def failed(self, shipment: Shipment, reason: str, _message: str) -> None:
        """A shipment failed for good."""
        self.failures.append((shipment.reference, reason))

    def paused(self, merchant: str, why: str) -> None:
        """A merchant was paused."""
        self.pauses.append((merchant, why))

    def resumed(self, merchant: str, shipments: int) -> None:
        """A merchant's pause was lifted."""
        self.resumptions.append((merchant, shipments))

    def call_repeated(self, shipment: Shipment) -> None:
        """A shipment was called for again after an open call."""
        self.again.append(shipment.reference)

    def response_unreadable(self, shipment: Shipment, why: str) -> None:
        """An answer cannot be read."""
        self.unread.append((shipment.reference, why))

    def unreadable(self, found: UnreadableRecord) -> None:
        """A record cannot be read."""
        self.unreadable_records.append(found.reference)
