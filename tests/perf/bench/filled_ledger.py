"""Fills a server with settled shipments and rejected events by the code that intake and workers use, without an API."""

import asyncio
import json
import os
import random
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from pydantic import SecretStr

from config.settings import Settings
from tasks.rules.decision import Fail, FailReason, Settle
from tasks.rules.outcome import Allocated, Carrier, Feedback, Label, Price, Refused
from tasks.rules.portions import portions
from tasks.rules.shipment import Shipment
from tasks.work.journal import CallRecord, Journal
from tasks.work.ports import Claim, Report
from tests.acceptance.system import order_event
from tests.factories.scripted_api import RecordedAlerts
from tests.perf.bench.rig import BenchError
from worker.lab.embedded_server import embedded_server
from worker.ledger.ledger import Ledger
from worker.processes.event_sorting import classify
from worker.processes.merchant_files import MerchantFiles
from worker.processes.stored_files import StoredFiles
from worker.redis_client.store import Store, connect
from worker.streams.orders import GROUP, Entry, OrdersStream
from worker.streams.publishing import publish

_ROUND = 5000
_AT_ONCE = 1000
_SEED = 1
_CALL_S = 0.2
_COUNTRIES = ("GB", "IE", "FR", "DE", "US")
_REASONS_OF_A_MERCHANT = 3
_REASONS: tuple[FailReason, ...] = get_args(FailReason)
_ALLOCATED = Allocated(
    carrier=Carrier(reference="CARRIER", name="Carrier", service_reference="FF_LINET-00001", service_name="Next day"),
    price=Price(net="4.20", gross="5.04", currency="GBP"),
    tracking_references=("TRK123456789",),
    labels=(Label(href="https://api.example.com/labels/1.pdf", format="pdf"),),
    correlation_id="5f3c0a52-8a0d-4d8c-9a6f-3a3f2f1f7a10",
)
_REFUSED = Refused(reason="no_service", message="no carrier service is available for this shipment")


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """How many merchants, settled shipments (`failed` of them failed), and rejected events."""

    merchants: int
    shipments: int
    failed: int
    rejected: int


def merchant_names(merchants: int) -> list[str]:
    """The names of that many merchants."""
    return [f"merchant-{n:04d}" for n in range(merchants)]


def reference(number: int) -> str:
    """A shipment's reference, as long as the vendor's own."""
    return f"sp_{number:032d}"


def order_number(number: int) -> str:
    """The number of that shipment's order."""
    return f"{1_000_000 + number}"


def event_id(number: int) -> str:
    """The id of that order's event."""
    return str(uuid.UUID(int=random.Random(number).getrandbits(128)))  # noqa: S311  # not a secret


def order_text(number: int, merchants: int) -> bytes:
    """The event of an order with one shipment; merchants take turns, and the facts vary."""
    facts = {
        "weight_kg": number % 30 + 0.5,
        "value": {"amount": f"{number % 700}.99", "currency": "GBP"},
        "destination": {"country": _COUNTRIES[number % len(_COUNTRIES)], "postcode": f"M{number % 30} 1AE"},
    }
    merchant = f"merchant-{number % merchants:04d}"
    more = {"order": order_number(number), "event_id": event_id(number), "shipping_method": "next-day"}
    return json.dumps(order_event(merchant, [reference(number)], facts=facts, **more)).encode()


def rejected_text(number: int) -> bytes:
    """An event that intake rejects; the reasons take turns."""
    order = order_event(f"unknown-{number % 7}", [f"rejected-{number}"])
    match number % 4:
        case 0:
            return json.dumps(order).encode()[:-1]
        case 1:
            return json.dumps({**order, "specversion": "0.3"}).encode()
        case 2:
            return json.dumps({**order, "data": {**order["data"], "shipments": []}}).encode()
        case _:
            return json.dumps(order).encode()


def rounds(content: Content) -> Iterator[list[bytes]]:
    """All events, a round at a time; rejected ones are spread evenly over them."""
    every = max(1, content.shipments // max(1, content.rejected))
    rejected = 0
    for numbers in portions(range(content.shipments), _ROUND):
        events = []
        for number in numbers:
            events.append(order_text(number, content.merchants))
            if number % every == 0 and rejected < content.rejected:
                events.append(rejected_text(rejected))
                rejected += 1
        yield events


def failed_references(content: Content) -> dict[str, FailReason]:
    """The shipments that fail, over all merchants at random, those of one for few reasons; always the same."""
    chosen = random.Random(_SEED)  # noqa: S311  # not a secret
    reasons = [chosen.sample(_REASONS, _REASONS_OF_A_MERCHANT) for _ in range(content.merchants)]
    failed = chosen.sample(range(content.shipments), content.failed)
    return {reference(n): chosen.choice(reasons[n % content.merchants]) for n in failed}


class Filler:
    """Intake and worker in this process."""

    def __init__(self, settings: Settings, store: Store) -> None:
        """No round trip is made."""
        self.store = store
        self.settings = settings
        self._files = MerchantFiles(settings.merchants_dir, settings.http_hosts, logs=False)
        self._stored_files = StoredFiles(store, self._files, settings)
        self._ledger = Ledger(store, settings)
        self._orders = OrdersStream(store, settings.orders_stream, settings.lease_seconds)

    async def fill(self, content: Content) -> None:
        """Publish, accept and settle everything. Raises BenchError if shipments or events are missing afterwards."""
        await self._orders.make_group()
        await self._ledger.watch_clock()
        failed = failed_references(content)
        for events in rounds(content):
            await self._stored_files.sync()
            await self.accept(await self.publish(events))
            await self._settle_due(failed)
        settings, count = self.settings, self.store.redis.xlen
        streams = (settings.allocated_stream, settings.failed_stream, settings.rejected_stream)
        found = tuple([await count(stream) for stream in streams])
        if found != (content.shipments - content.failed, content.failed, content.rejected):
            raise BenchError(f"filling the ledger ended with {found} events of {content}")

    async def publish(self, events: Sequence[bytes]) -> list[Entry]:
        """Publish events; returns their entries, read as an intake does, and not yet accepted."""
        await publish(self.store.redis, self.settings.orders_stream, events, None, lambda _: None)
        entries: list[Entry] = []
        while len(entries) < len(events):
            entries += await self._orders.read()
        return entries

    async def accept(self, entries: Sequence[Entry], ledger: Ledger | None = None) -> None:
        """Accept entries, by another ledger if one is given."""
        for some, ids in classify(entries, self._files):
            await (ledger or self._ledger).accept(some.accepted, some.rejected, ids, GROUP, some.ignored)

    async def claimed(self) -> list[Report]:
        """Claim all that is due; returns the reports with which it is allocated, not yet written."""
        reports: list[Report] = []
        while journals := await self._claim():
            reports += [
                journal.report_of(*_allocated(journal, each))
                for journal in journals
                for each in journal.claim.shipments
            ]
        return reports

    async def _settle_due(self, failed: dict[str, FailReason]) -> None:
        while journals := await self._claim():
            leaving = (_leave(journal, each, failed) for journal in journals for each in journal.claim.shipments)
            await asyncio.gather(*leaving)

    async def _claim(self) -> list[Journal]:
        return [self._journal(claim) for claim in (await self._ledger.claim(_AT_ONCE, is_empty=True)).claims]

    def _journal(self, claim: Claim) -> Journal:
        account = self._files.account(claim.merchant)
        assert account is not None
        return Journal(
            account=account, claim=claim, ledger=self._ledger, alerts=RecordedAlerts(), wake_after=lambda _: None
        )


def _allocated(journal: Journal, found: Shipment) -> tuple[Settle, CallRecord]:
    """One call, which allocated the shipment."""
    shipment = found.called()
    return Settle(shipment=shipment, allocated=_ALLOCATED, adopted=False), _called(journal, shipment, _ALLOCATED)


def _called(journal: Journal, shipment: Shipment, finding: Allocated | Refused) -> CallRecord:
    return CallRecord(journal.entry("allocate", shipment, finding, _CALL_S), Feedback("good", "allocate"))


async def _leave(journal: Journal, found: Shipment, failed: dict[str, FailReason]) -> None:
    """Report one call, which settled the shipment."""
    if (reason := failed.get(found.reference)) is None:
        await journal.leave(*_allocated(journal, found))
        return
    shipment = found.called()
    record = _called(journal, shipment, _REFUSED)
    await journal.leave(Fail(shipment=shipment, reason=reason, message=_REFUSED.message), record)


@dataclass(frozen=True, kw_only=True, slots=True)
class FilledPlace:
    """A server of our own with merchant files. `environment`: what commands need to use them; `log`: their errors."""

    settings: Settings
    environment: dict[str, str]
    log: Path


@contextmanager
def place_to_fill(merchants: int) -> Iterator[FilledPlace]:
    """An empty server, and the example file for each merchant."""
    with TemporaryDirectory(prefix="allocation-bench-") as name, embedded_server(Path(name) / "redis") as server:
        folder = Path(name) / "merchants"
        folder.mkdir()
        text = (resources.files("worker.commands") / "examples/merchant.toml").read_text()
        # The example names it: a file without its key is not stored.
        os.environ["ACME_PRO_API_KEY"] = "bench"
        for merchant in merchant_names(merchants):
            (folder / f"{merchant}.toml").write_text(text)
        yield FilledPlace(
            settings=Settings(_env_file=None, redis_url=SecretStr(server.url), merchants_dir=folder),
            environment={
                "ALLOCATION_REDIS_URL": server.url,
                "ALLOCATION_MERCHANTS_DIR": str(folder),
                "ACME_PRO_API_KEY": "bench",
            },
            log=Path(name) / "commands.log",
        )


@asynccontextmanager
async def filling(settings: Settings) -> AsyncIterator[Filler]:
    """A filler with its own connection."""
    redis = connect(settings)
    try:
        yield Filler(settings, Store(redis))
    finally:
        await redis.aclose()
