"""The ledger of a batch in memory, with owners and slots."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tasks.rules.outcome import Purpose
from tasks.rules.progress import parse_progress
from tasks.rules.shipment import Shipment, entry_field
from tasks.work.ports import Pause, Permit, PermitRequest, Report
from tests.factories.shipments import NOW

TASK = "task-1"


@dataclass(kw_only=True)
class MemoryLedger:
    """Records reports of the owner of a shipment; all others are rejected.

    `in_flight`: shipments with a slot; `in_flight_elsewhere`: slots taken by other workers. `last_good_at`: time of the
    last good response by purpose. `splitting`: owner of each split. `broken`: shipments whose reports raise.
    `clock_uncertainty_s`: distance between the bounds of the server's time.
    """

    now: Callable[[], float] = lambda: NOW + asyncio.get_running_loop().time()
    holders: dict[str, str] = field(default_factory=dict)
    written: list[tuple[float, Report]] = field(default_factory=list)
    histories: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    permits: dict[str, list[Permit]] = field(default_factory=lambda: defaultdict(list))
    permit_requests: list[PermitRequest] = field(default_factory=list)
    in_flight: set[str] = field(default_factory=set)
    in_flight_elsewhere: int = 0
    pauses: list[tuple[str, Pause, str, str]] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    last_good_at: dict[Purpose, float] = field(default_factory=dict)
    denied: str = ""
    splitting: dict[str, str] = field(default_factory=dict)
    splits: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    clock_uncertainty_s: float = 0.0
    permit_batches: list[int] = field(default_factory=list)

    def earliest(self) -> float:
        """The lower bound of the server's time."""
        return self.now() - self.clock_uncertainty_s

    async def permit(self, request: PermitRequest) -> Permit:
        """The scripted permit; otherwise a permit for the owner if a slot is free."""
        await asyncio.sleep(0)
        self.permit_requests.append(request)
        reference = request.shipment.reference
        if self.permits[reference]:
            return self.permits[reference].pop(0)
        if self.holders.get(reference) != request.lease_token:
            return Permit(owned=False)
        if request.in_flight and reference not in self.in_flight:
            if len(self.in_flight) + self.in_flight_elsewhere >= request.in_flight:
                return Permit(owned=True, busy=True)
            self.in_flight.add(reference)
        return Permit(owned=True, slot=request.in_flight > 0)

    async def permit_all(self, requests: Sequence[PermitRequest]) -> list[Permit]:
        """One permit for each request."""
        self.permit_batches.append(len(requests))
        return await asyncio.gather(*map(self.permit, requests))

    async def permit_bulk(self, requests: Sequence[PermitRequest]) -> list[Permit]:
        """The first permit, and the others only if it allows a call."""
        first = await self.permit(requests[0])
        return [first, *(await self.permit_all(requests[1:]) if first.may_call else [])]

    async def report_all(self, reports: Sequence[Report]) -> list[bool]:
        """Report one by one."""
        return await asyncio.gather(*map(self.report, reports))

    async def report(self, report: Report) -> bool:
        """Record a report of the owner; any verdict but `keep` ends the lease."""
        await asyncio.sleep(0)
        shipment = report.shipment
        if shipment.reference in self.broken and report.verdict != "park":
            raise RuntimeError("a bug")
        if report.slot:
            self.in_flight.discard(shipment.reference)
        if self.holders.get(shipment.reference) != report.lease_token:
            return False
        if shipment.progress.is_readable:
            assert parse_progress(shipment.progress.as_json()) == shipment.progress
        self.written.append((self.now(), report))
        if report.entry is not None:
            self.histories[shipment.reference][entry_field(shipment.progress.entries)] = json.dumps(report.entry)
        if report.verdict != "keep":
            del self.holders[shipment.reference]
        return True

    async def history(self, shipment: Shipment) -> list[dict[str, Any]]:
        """All entries; histories are short in these tests."""
        kept = self.histories[shipment.reference]
        slots = [entry_field(entry) for entry in range(1, shipment.progress.entries + 1)]
        return [json.loads(kept[name]) for name in slots if name in kept]

    async def pause(self, merchant: str, pause: Pause, digest: str, probe: str = "") -> bool:
        """Only the first pause is new."""
        self.pauses.append((merchant, pause, digest, probe))
        return len(self.pauses) == 1

    async def resume(self, merchant: str) -> int:
        """Resumes five shipments."""
        self.resumed.append(merchant)
        return 5

    async def first_denial(self, _api: str, reference: str) -> bool:
        """Only the first denied shipment is the first."""
        self.denied = self.denied or reference
        return self.denied == reference

    async def last_good(self, api: str, purpose: Purpose) -> float:
        """The scripted time."""
        assert api
        return self.last_good_at.get(purpose, 0.0)

    async def split(self, merchant: str, strategy: str, lease_token: str) -> bool:
        """One split at a time per merchant and step."""
        await asyncio.sleep(0)
        return self.splitting.setdefault(f"{merchant} {strategy}", lease_token) == lease_token

    async def split_over(self, merchant: str, strategy: str, lease_token: str) -> None:
        """End the split."""
        assert self.splitting.pop(f"{merchant} {strategy}") == lease_token
        self.splits.append(strategy)

    def reports(self, reference: str) -> list[Report]:
        """All reports of a shipment."""
        return [report for _, report in self.written if report.shipment.reference == reference]

    def last(self, reference: str) -> Report:
        """The last report of a shipment."""
        return self.reports(reference)[-1]

    def verdicts(self, reference: str) -> list[str]:
        """The verdicts of a shipment, in order."""
        return [report.verdict for report in self.reports(reference)]

    def when(self, reference: str) -> float:
        """Seconds from the start to the last report of a shipment."""
        return [at for at, report in self.written if report.shipment.reference == reference][-1] - NOW

    def due(self) -> list[tuple[float, Shipment]]:
        """Shipments that are parked or fell back, with their due times in seconds from the start."""
        last = {report.shipment.reference: (at, report) for at, report in self.written}
        waiting = [(at, report) for at, report in last.values() if report.verdict in ("park", "hand")]
        return [(max(report.due, at) - NOW, replace(report.shipment, cleared_until=0.0)) for at, report in waiting]
