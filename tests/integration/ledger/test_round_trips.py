"""The cost of a batch at the server, counted by the server itself."""

import asyncio
import json
import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from config.settings import Settings
from tests.factories.ledger_harness import Harness
from worker.ledger.failures import failures
from worker.ledger.shipment_state import EventName, events_of

ROUND_TRIPS = ("accept", "take", "report")
"""For a hundred shipments as for one."""

COMMANDS_OF_A_SHIPMENT = 7
COMMANDS_OF_ONE_ALONE = 64

A_TIME = re.compile(r"1[6-9]\d{8}(\d{3})?(\.\d+)?")
"""Seconds or milliseconds since the epoch, between 2020 and 2033."""


@pytest.fixture
def harness(settings: Settings, runner: asyncio.Runner) -> Iterator[Harness]:
    """An empty ledger that permits first calls with the claim."""
    harness = Harness(settings, admits=True)
    yield harness
    runner.run(harness.close())


@dataclass(kw_only=True)
class ServerCommands:
    """Commands in the order in which the server ran them: from clients, and from scripts."""

    received: list[str] = field(default_factory=list)
    nested: list[str] = field(default_factory=list)


@asynccontextmanager
async def watching(harness: Harness) -> AsyncIterator[ServerCommands]:
    """The commands that the server runs during an `async with`."""
    seen = ServerCommands()
    watcher = Harness(harness.settings)
    async with watcher.raw.monitor() as monitor:
        yield seen
        await harness.raw.echo("the end")
        while (command := await monitor.next_command())["command"] != "ECHO the end":
            (seen.nested if command["client_type"] == "lua" else seen.received).append(command["command"])
    await watcher.close()


async def settle_all(harness: Harness, count: int) -> None:
    """Accept, claim, permit and settle shipments whose API responds at once."""
    claim = await harness.claim("acme", *(f"sp_{uuid.uuid4().hex}" for n in range(count)))
    assert len(claim.permitted) == count
    entry = {"action": "allocate"}
    await harness.report(claim, "allocated", entry=entry, event="{}", api="api", signal="good")


async def test_round_trips_of_a_batch(harness: Harness) -> None:
    """A batch of a hundred takes three round trips, from intake to event."""
    await settle_all(harness, 1)
    await harness.raw.echo("connected")
    async with watching(harness) as seen:
        await settle_all(harness, 100)
    assert [command.partition(" ")[0] for command in seen.received] == ["EVALSHA"] * len(ROUND_TRIPS)


async def test_commands_of_a_shipment(harness: Harness) -> None:
    """Within the scripts a shipment takes a bounded number of commands, however many share its batch."""
    await settle_all(harness, 1)
    await harness.raw.echo("connected")
    async with watching(harness) as seen:
        await settle_all(harness, 100)
    most = Counter(command.partition(" ")[0] for command in seen.nested).most_common()
    assert len(seen.nested) <= COMMANDS_OF_A_SHIPMENT * 100, most


async def test_commands_of_a_single_shipment(harness: Harness) -> None:
    """The commands per message are bounded for a single shipment as well."""
    await settle_all(harness, 1)
    async with watching(harness) as seen:
        await settle_all(harness, 1)
    most = Counter(command.partition(" ")[0] for command in seen.nested).most_common()
    assert len(seen.nested) <= COMMANDS_OF_ONE_ALONE, most


async def test_no_client_sends_a_time(harness: Harness) -> None:
    """Claims, permits and leases use the server's clock only: no time is sent to it."""
    async with watching(harness) as seen:
        claim = await harness.claim("acme", "a")
        await harness.permit(claim.shipments[0], claim.lease_token, per_second=5.0, api="api")
        await harness.ledger.renew([(claim.shipments[0], claim.lease_token)])
    sent = [word for command in seen.received for word in command.split()[1:]]
    assert [word for word in sent if A_TIME.fullmatch(word)] == []


async def test_failures_of_many_merchants_are_read_together(harness: Harness) -> None:
    """Failed shipments of fifty merchants and their events are read in a few round trips."""
    merchants = [f"merchant-{number}" for number in range(50)]
    for merchant in merchants:
        claim = await harness.claim(merchant, "a")
        await harness.report(claim, "failed", event=json.dumps({"id": f"{merchant}/a/failed/0"}))
    before = await _packets(harness)
    found = await failures(harness.redis, harness.settings, merchants)
    names = [EventName(f"{each.merchant}/a/failed/0", each.settled_ms) for each in found]
    events = await events_of(harness.redis, harness.settings.failed_stream, names)
    assert [(event or {}).get("id") for event in events] == [f"{merchant}/a/failed/0" for merchant in merchants]
    assert await _packets(harness) - before < 10


async def _packets(harness: Harness) -> int:
    """How often the server has read from a connection."""
    return int((await harness.raw.info("stats"))["total_reads_processed"])
