"""Merchant files, orders and shipments in various states for tests of the commands."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from jsonschema import Draft202012Validator

from config.settings import Settings
from tasks.events.shipment_allocated import allocated_event
from tasks.events.shipment_allocation_failed import failed_event
from tasks.rules.decision import FailReason
from tasks.rules.outcome import Allocated, Carrier
from tasks.rules.shipment import Shipment
from tasks.work.ports import Claim, Report
from tests.factories.classified_events import classify_all
from worker.commands.output_schemas import OUTPUTS, output_schema
from worker.ledger.ledger import Ledger
from worker.processes.merchant_files import MerchantFiles
from worker.redis_client.store import Store, connect
from worker.streams.orders import GROUP

T = TypeVar("T")

PROGRAM = Path(sys.executable).parent / "allocation"

API = '[api]\nflavour = "shipments-v2"\nbase_url = "http://127.0.0.1:9/pro"\napi_key = { env = "ACME_KEY" }\n'
ALLOCATION = '[allocation]\nstrategy = { virtual_service = "V" }\nfallback = [{ carrier_service = "C" }]\n'
HEAVY = '[[rules]]\nname = "heavy"\nwhen = { weight_kg = { over = 20 } }\nstrategy = { service_group = "freight" }\n'
FILE = API + ALLOCATION + HEAVY

AT = "2026-11-21T10:00:00.000Z"
ENTRY = {
    "at": AT,
    "action": "allocate",
    "strategy": {"virtual_service": "V"},
    "outcome": "refused",
    "reason": "no_capacity",
    "message": "The carrier is full.",
    "correlation_id": "c-1",
    "duration_ms": 12,
}
LINETEN = Allocated(carrier=Carrier(reference="FF", name="Lineten", service_reference="FF-1"))
_ids = count(1)


def order(*references: str, merchant: str = "acme", weight_kg: float = 1.0, **envelope: Any) -> dict[str, Any]:
    """An order-created event."""
    shipments = [{"reference": reference, "weight_kg": weight_kg} for reference in references]
    data = {"merchant": merchant, "order": "1001", "shipments": shipments}
    event = {"specversion": "1.0", "id": "evt-1", "source": "urn:shop", "type": "order.created", "data": data}
    return {**event, **envelope}


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandResult:
    """The output of a command, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The output as JSON."""
        return json.loads(self.out)


class CliHarness:
    """A ledger, its merchants, and the commands."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        """`folder`: the temporary folder of the test."""
        self.settings = settings
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "ALLOCATION_REDIS_URL": settings.redis_url.get_secret_value(),
            "ALLOCATION_MERCHANTS_DIR": str(settings.merchants_dir),
            "ACME_KEY": "opens-nothing",
        }

    def merchant(self, name: str = "acme", text: str = FILE) -> None:
        """Write a merchant file."""
        (self.settings.merchants_dir / f"{name}.toml").write_text(text)

    def run(self, *words: str, stdin: str = "", **environment: str) -> CommandResult:
        """Run `allocation` with these arguments. A document is validated if it has a schema."""
        done = subprocess.run(
            [PROGRAM, *words],
            cwd=self.folder,
            env={**self.environment, **environment},
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=30,
        )
        result = CommandResult(code=done.returncode, out=done.stdout, err=done.stderr)
        if words[0] in OUTPUTS and "--json" in words and result.out:
            Draft202012Validator(output_schema(words[0])).validate(result.document)
        return result

    def do(self, operation: Callable[[Store, Ledger], Awaitable[T]]) -> T:
        """Run an operation on the ledger."""

        async def connected() -> T:
            redis = connect(self.settings)
            try:
                return await operation(Store(redis), Ledger(Store(redis), self.settings))
            finally:
                await redis.aclose()

        return asyncio.run(connected())

    def accept(self, *events: dict[str, Any] | bytes) -> None:
        """Accept events, as intake does."""
        texts = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
        entries = [(f"1-{next(_ids)}", {b"event": text}) for text in texts]
        read = classify_all(entries, MerchantFiles(self.settings.merchants_dir, frozenset()))
        ids = [stream_id for stream_id, _ in entries]
        self.do(lambda _, ledger: ledger.accept(read.accepted, read.rejected, ids, GROUP, read.ignored))

    def claim(self) -> list[Shipment]:
        """Claim everything that is due, and keep the leases."""
        return [shipment for claim in self.do(_claim_all) for shipment in claim.shipments]

    def park(self, wait_s: float) -> None:
        """Claim everything that is due, and park it after one refused attempt."""
        self._report(lambda ledger, _: {"verdict": "park", "due": ledger.now() + wait_s, "entry": ENTRY})

    def allocate(self, got: Allocated = LINETEN) -> None:
        """Claim everything that is due, and report it as allocated."""

        def verdict_of(ledger: Ledger, shipment: Shipment) -> dict[str, Any]:
            event = allocated_event(shipment, got, adopted=False, now=ledger.now())
            return {"verdict": "allocated", "event": event, "entry": {**ENTRY, "outcome": "allocated"}}

        self._report(verdict_of)

    def fail(self, reason: FailReason = "all_steps_refused", message: str = "virtual_service V: full") -> None:
        """Claim everything that is due, and fail it after one refused attempt."""

        def verdict_of(ledger: Ledger, shipment: Shipment) -> dict[str, Any]:
            event = failed_event(shipment, reason, message, [], replay=shipment.replays, now=ledger.now())
            return {"verdict": "failed", "event": event, "reason": reason, "entry": ENTRY}

        self._report(verdict_of)

    def _report(self, verdict_of: Callable[[Ledger, Shipment], dict[str, Any]]) -> None:
        async def operation(store: Store, ledger: Ledger) -> None:
            for claim in await _claim_all(store, ledger):
                reports = (
                    Report(shipment=_after_attempt(s), lease_token=claim.lease_token, **verdict_of(ledger, s))
                    for s in claim.shipments
                )
                assert all(await asyncio.gather(*(ledger.report(report) for report in reports)))

        self.do(operation)


def _after_attempt(shipment: Shipment) -> Shipment:
    progress = shipment.progress
    return shipment.with_progress(attempts=progress.attempts + 1, entries=progress.entries + 1)


async def _claim_all(_: Store, ledger: Ledger) -> list[Claim]:
    claim: list[Claim] = []
    while found := (await ledger.claim(1000, is_empty=True)).claims:
        claim += found
    return claim
