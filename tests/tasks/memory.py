"""The ports of a batch, kept in memory: a ledger that knows who holds what, an API that answers by its script."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from config.merchants import Merchant
from config.strategies.catalogue import AnyStrategy
from tasks.outcome import Finding, Outcome
from tasks.ports import Handover, Permit, PermitRequest, Report, Taken
from tasks.shipment import Progress, Shipment, slot
from tests.rules.made import ALLOCATED, NOW

TASK = "task-1"


@dataclass(kw_only=True)
class MemoryLedger:
    """What is written, by whoever holds the shipment; everything else is turned away."""

    now: Callable[[], float] = lambda: NOW + asyncio.get_running_loop().time()
    holders: dict[str, str] = field(default_factory=dict)
    written: list[tuple[float, Report]] = field(default_factory=list)
    stories: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    permits: dict[str, list[Permit]] = field(default_factory=lambda: defaultdict(list))
    asked: list[PermitRequest] = field(default_factory=list)
    paused: dict[str, tuple[str, str]] = field(default_factory=dict)

    async def take(self, handover: Handover, claim: int = 0) -> Taken:
        """Not asked by a batch, which begins with what was taken."""
        raise NotImplementedError

    async def permit(self, request: PermitRequest) -> Permit:
        """What the test says, and otherwise leave for whoever holds the shipment."""
        await asyncio.sleep(0)
        self.asked.append(request)
        reference = request.shipment.reference
        if self.permits[reference]:
            return self.permits[reference].pop(0)
        return Permit(held=self.holders.get(reference) == request.task)

    async def permit_all(self, requests: Sequence[PermitRequest]) -> list[Permit]:
        """Each by itself."""
        return await asyncio.gather(*map(self.permit, requests))

    async def permit_together(self, requests: Sequence[PermitRequest]) -> list[Permit]:
        """The first, and only if it may call the others."""
        first = await self.permit(requests[0])
        return [first, *(await self.permit_all(requests[1:]) if first.may_call else [])]

    async def report_all(self, reports: Sequence[Report]) -> list[bool]:
        """Each by itself."""
        return await asyncio.gather(*map(self.report, reports))

    async def report(self, report: Report) -> bool:
        """Keep the report of a holder; whatever but `keep` ends its hold."""
        await asyncio.sleep(0)
        shipment = report.shipment
        if self.holders.get(shipment.reference) != report.task:
            return False
        assert Progress(**json.loads(shipment.progress.as_json())) == shipment.progress
        self.written.append((self.now(), report))
        if report.entry is not None:
            self.stories[shipment.reference][slot(shipment.progress.entries)] = json.dumps(report.entry)
        if report.verdict != "keep":
            del self.holders[shipment.reference]
        return True

    async def story(self, shipment: Shipment) -> list[dict[str, Any]]:
        """Every entry so far; the tests' stories are short."""
        kept = self.stories[shipment.reference]
        slots = [slot(entry) for entry in range(1, shipment.progress.entries + 1)]
        return [json.loads(kept[name]) for name in slots if name in kept]

    async def pause(self, merchant: str, why: str, digest: str) -> bool:
        """The first pause counts."""
        new = merchant not in self.paused
        self.paused.setdefault(merchant, (why, digest))
        return new

    def last(self, reference: str) -> Report:
        """The last that was written of a shipment."""
        return [report for _, report in self.written if report.shipment.reference == reference][-1]

    def verdicts(self, reference: str) -> list[str]:
        """All that was written of a shipment."""
        return [report.verdict for _, report in self.written if report.shipment.reference == reference]

    def when(self, reference: str) -> float:
        """Seconds after the beginning at which the last word about a shipment was written."""
        return [at for at, report in self.written if report.shipment.reference == reference][-1] - NOW


@dataclass(frozen=True, kw_only=True)
class After:
    """An answer that takes its time; an exception in its place is a bug on the way."""

    seconds: float
    answer: Finding | Exception


Said = Finding | Exception | After


@dataclass(kw_only=True)
class ScriptedApi:
    """Answers each shipment's calls and readings in the order of the test's script; after it, allocates."""

    calls: dict[str, list[Said]] = field(default_factory=lambda: defaultdict(list))
    readings: dict[str, list[Said]] = field(default_factory=lambda: defaultdict(list))
    called: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    async def allocate(
        self, _merchant: Merchant, key: str, strategy: AnyStrategy, references: Sequence[str]
    ) -> Mapping[str, Outcome]:
        """One outcome for each, once all of them are there."""
        self.called.append((str(strategy), tuple(references)))
        self.keys.add(key)
        answers: dict[str, Any] = {}
        for reference in references:
            answers[reference] = await _say(self.calls[reference])
        return answers

    async def read_back(self, _merchant: Merchant, key: str, reference: str) -> Finding:
        """Where a shipment stands."""
        self.read.append(reference)
        self.keys.add(key)
        return await _say(self.readings[reference])


async def _say(script: list[Said]) -> Finding:
    said = script.pop(0) if script else ALLOCATED
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

    def failed(self, shipment: Shipment, reason: str, _message: str) -> None:
        """A shipment failed for good."""
        self.failures.append((shipment.reference, reason))

    def paused(self, merchant: str, why: str) -> None:
        """A merchant was paused."""
        self.pauses.append((merchant, why))
