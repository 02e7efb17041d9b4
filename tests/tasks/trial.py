"""A batch with everything around it in memory."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

from config.celery_options import PATIENCE_S
from config.merchants import Merchant
from config.strategies.catalogue import AnyStrategy
from tasks.backoff import RetryBudget
from tasks.batch import Batch
from tasks.ports import Account, Taken
from tasks.shipment import Shipment
from tests.rules.files import SERVICE, V2_API, file_of
from tests.rules.made import shipment
from tests.tasks.memory import TASK, MemoryLedger, ScriptedApi, Told

KEY = "open-sesame"


def several(references: str, *steps: AnyStrategy, **progress: Any) -> list[Shipment]:
    """Shipments with these references (one a word), all with the same steps and progress."""
    return [replace(shipment(*steps, **progress), reference=reference) for reference in references.split()]


@dataclass(kw_only=True)
class Trial:
    """One task's work, and what came of it."""

    shipments: list[Shipment]
    file: str = V2_API + SERVICE
    key: str | None = KEY
    paused: str = ""
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    api: ScriptedApi = field(default_factory=ScriptedApi)
    told: Told = field(default_factory=Told)
    budget: RetryBudget = field(default_factory=RetryBudget)
    in_time: list[Shipment] = field(default_factory=list)
    late: list[list[Shipment]] = field(default_factory=list)
    late_at: list[float] = field(default_factory=list)
    alarms: list[float] = field(default_factory=list)
    going_on: asyncio.Task[None] | None = None

    def batch(self) -> Batch:
        """The batch, which holds its shipments from now on."""
        merchant = Merchant(name="acme", file=file_of(self.file), digest="d")
        self.ledger.holders |= {shipment.reference: TASK for shipment in self.shipments}
        return Batch(
            account=Account(merchant=merchant, key=self.key, digest="digest-1", api="api.test#1"),
            taken=Taken(task=TASK, paused=self.paused, shipments=tuple(self.shipments)),
            ledger=self.ledger,
            api=self.api,
            telemetry=self.told,
            budget=self.budget,
            wake_in=self.alarms.append,
        )

    async def work(self) -> Batch:
        """Work for as long as a task may."""
        batch = self.batch()
        batch.start()
        self.in_time, self.going_on = await batch.run(PATIENCE_S, self._fall_back_late)
        return batch

    async def to_the_end(self) -> None:
        """Work until the last slow call is settled."""
        await self.work()
        if self.going_on:
            await self.going_on

    async def _fall_back_late(self, shipments: list[Shipment]) -> None:
        self.late.append(shipments)
        self.late_at.append(asyncio.get_running_loop().time())
