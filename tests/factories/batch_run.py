"""A batch whose ledger, API and alerts are in memory."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

from config.celery_options import PATIENCE_S
from config.merchant_files.merchant_file import Merchant
from config.strategies.catalogue import AnyStrategy
from tasks.rules.backoff import RetryBudget
from tasks.rules.shipment import Shipment
from tasks.rules.unreadable import UnreadableRecord
from tasks.work.batch import Batch
from tasks.work.messages import FellBack
from tasks.work.ports import Account, Claim, Pause
from tests.factories.memory_ledger import TASK, MemoryLedger
from tests.factories.merchant_files import SERVICE, V2_API, file_of
from tests.factories.scripted_api import RecordedAlerts, ScriptedApi
from tests.factories.shipments import shipment

KEY = "open-sesame"
MAX_VISITS = 200


def make_shipments(references: str, *steps: AnyStrategy, **progress: Any) -> list[Shipment]:
    """Shipments with these references (one a word), all with the same steps and progress."""
    return [replace(shipment(*steps, **progress), reference=reference) for reference in references.split()]


@dataclass(kw_only=True)
class BatchRun:
    """One batch, the settings it runs with, and its results."""

    shipments: list[Shipment]
    unreadable: tuple[UnreadableRecord, ...] = ()
    file: str = V2_API + SERVICE
    key: str | None = KEY
    paused: Pause | None = None
    probe: str = ""
    permitted: frozenset[str] = frozenset()
    requested_at: float = 0.0
    stopped: frozenset[str] = frozenset()
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    api: ScriptedApi = field(default_factory=ScriptedApi)
    alerts: RecordedAlerts = field(default_factory=RecordedAlerts)
    budget: RetryBudget = field(default_factory=RetryBudget)
    in_time: list[Shipment] = field(default_factory=list)
    late: list[Shipment] = field(default_factory=list)
    fell_back_at: list[float] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    wakeups: list[float] = field(default_factory=list)
    running: asyncio.Task[None] | None = None

    def batch(self) -> Batch:
        """The batch; it owns its shipments."""
        merchant = Merchant(name="acme", file=file_of(self.file), digest="d")
        self.ledger.holders |= {shipment.reference: TASK for shipment in self.shipments}
        self.ledger.holders |= {found.reference: TASK for found in self.unreadable}
        return Batch(
            account=Account(merchant=merchant, key=self.key, digest="digest-1", api="api.test#1"),
            claim=Claim(
                merchant="acme",
                lease_token=TASK,
                paused=self.paused,
                shipments=tuple(self.shipments),
                unreadable=self.unreadable,
                probe=self.probe,
                permitted=self.permitted,
                requested_at=self.requested_at,
                stopped=self.stopped,
            ),
            ledger=self.ledger,
            api=self.api,
            alerts=self.alerts,
            budget=self.budget,
            wake_after=self.wakeups.append,
            on_finish=self.left.append,
            fell_back=self._fell_back,
        )

    async def work(self) -> Batch:
        """Run for as long as a link of a chain waits; slow calls and visits with errors continue in `running`."""
        batch = self.batch()
        work = asyncio.create_task(batch.run())
        await asyncio.wait([work], timeout=PATIENCE_S)
        self.in_time, self.late = self.late, []
        self.running = work if not work.done() or work.exception() else None
        return batch

    async def run_to_completion(self) -> None:
        """Run until the last slow call is settled."""
        await self.work()
        if self.running:
            await self.running

    async def run_all_visits(self, until_s: float = float("inf")) -> None:
        """Run, and claim due shipments again, all that are due at the same time together, until none is left."""
        for _ in range(MAX_VISITS):
            await self.run_to_completion()
            due = sorted(self.ledger.due(), key=lambda each: each[0])
            if not due or due[0][0] > until_s:
                return
            now = max(asyncio.get_running_loop().time(), due[0][0])
            await asyncio.sleep(now - asyncio.get_running_loop().time())
            self.shipments = [shipment for at, shipment in due if at <= now + 0.005]
        raise AssertionError(f"not finished after {MAX_VISITS} visits")

    def _fell_back(self, fallen_back: FellBack) -> None:
        assert fallen_back.token == TASK
        self.late.append(fallen_back.shipment)
        self.fell_back_at.append(asyncio.get_running_loop().time())
