"""The limits of a merchant file hold over all workers together."""

import asyncio
from pathlib import Path

import pytest

from config.settings import Settings
from tasks.work.ports import PermitRequest
from tests.factories.ledger_harness import Harness
from worker.ledger.records import server_ms
from worker.processes.limits import Limits
from worker.processes.merchant_files import MerchantFiles

FILE = """[api]
flavour = "{flavour}"
base_url = "http://127.0.0.1:9"
api_key = {{ env = "KEY" }}
[allocation]
strategy = {{ carrier_service = "X" }}
[limits]
in_flight = {in_flight}
per_second = {per_second}
"""


def write(folder: Path, name: str, in_flight: int, per_second: float, flavour: str = "shipments-v2") -> None:
    """Write a merchant file with these limits."""
    text = FILE.format(flavour=flavour, in_flight=in_flight, per_second=per_second)
    (folder / f"{name}.toml").write_text(text)


async def test_in_flight_holds_over_all_claimers(settings: Settings, harness: Harness) -> None:
    """However many claim at once, no more of a merchant's shipments are at work than its file says."""
    await harness.ledger.set_limits("acme", 30, 0)
    await harness.accept("acme", *(f"sp_{n}" for n in range(300)))
    claimers = [Harness(settings) for _ in range(6)]
    found = await asyncio.gather(*(claimer.claim_all(2) for claimer in claimers))
    await asyncio.gather(*(claimer.close() for claimer in claimers))
    batches = [batch for some in found for batch in some]
    assert sum(len(batch.shipments) for batch in batches) == 30
    await harness.settle(batches[:1])
    assert sum(len(batch.shipments) for batch in await harness.claim_all()) == len(batches[0].shipments)


async def test_a_limit_that_is_gone(harness: Harness) -> None:
    """Without a limit the window alone decides."""
    await harness.ledger.set_limits("acme", 5, 0)
    await harness.ledger.set_limits("acme", 0, 0)
    await harness.accept("acme", *(f"sp_{n}" for n in range(150)))
    assert sum(len(batch.shipments) for batch in await harness.claim_all()) == 150


async def test_a_common_call_that_may_not_go(harness: Harness) -> None:
    """When the first of a common call gets no place, the others are not asked for: none counts as called for."""
    claim = await harness.claim("acme", "a", "b", "c")
    slow = [
        PermitRequest(shipment=s, lease_token=claim.lease_token, purpose="allocate", per_second=0.5)
        for s in claim.shipments
    ]
    assert [permit.may_call for permit in await harness.ledger.permit_bulk(slow[:1])] == [True]
    (permit,) = await harness.ledger.permit_bulk(slow[1:])
    assert (permit.owned, permit.park) == (True, True)
    assert [await harness.phase("acme", one.shipment.reference) for one in slow] == ["c", "r", "r"]


async def test_a_common_call_takes_one_place(harness: Harness) -> None:
    """The first of a common call takes its place, the others go with it; who is not held any more is left out."""
    claim = await harness.claim("acme", "a", "b", "c")
    first, second, third = (
        PermitRequest(shipment=s, lease_token=claim.lease_token, purpose="allocate", per_second=per_second)
        for s, per_second in zip(claim.shipments, (0.5, 0.0, 0.0), strict=True)
    )
    permits = await harness.ledger.permit_bulk([first, second._replace(lease_token="another-task"), third])
    assert [permit.may_call for permit in permits] == [True, False, True]


async def test_calls_are_spaced(settings: Settings, harness: Harness) -> None:
    """Calls that two workers ask for get places one after the other, as far apart as the limit says."""
    claim = await harness.claim("acme", *(f"sp_{n}" for n in range(10)))
    other = Harness(settings)
    began = await server_ms(harness.redis)
    for worker, some in ((harness, claim.shipments[:5]), (other, claim.shipments[5:])):
        permits = await asyncio.gather(*(worker.permit(held, claim.lease_token, per_second=20.0) for held in some))
        waits = [permit.wait_s for permit in permits]
        assert [wait - waits[0] for wait in waits] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2], abs=0.002)
    await other.close()
    next_place = float(await harness.raw.get("allocation:rate:acme"))
    assert next_place - began >= 10 * 50


async def test_who_must_wait_for_long_takes_no_place(harness: Harness) -> None:
    """A place further off than half a second is not taken: the shipment is to be parked, and the place stays free."""
    claim = await harness.claim("acme", *(f"sp_{n}" for n in range(6)))
    permits = await asyncio.gather(
        *(harness.permit(held, claim.lease_token, per_second=4.0) for held in claim.shipments)
    )
    assert [permit.park for permit in permits] == [False] * 3 + [True] * 3
    assert [permit.wait_s for permit in permits] == pytest.approx([0, 0.25, 0.5, 0.75, 0.75, 0.75], abs=0.002)


async def test_no_more_is_handed_out_than_may_be_called(harness: Harness) -> None:
    """A merchant with calls per second gets what can be called within half a second, at least one shipment."""
    for merchant, per_second in {"slow": 0.2, "ten": 10.0}.items():
        await harness.ledger.set_limits(merchant, 0, per_second)
        await harness.accept(merchant, *(f"sp_{n}" for n in range(50)))
    found = sorted((claim.merchant, len(claim.shipments)) for claim in await harness.claim_due())
    assert found == [("slow", 1), ("ten", 5)]


async def test_a_file_tells_its_limits(harness: Harness) -> None:
    """The hand-out learns the limits of every file, as shipments: a call for a hundred counts a hundred."""
    folder = harness.settings.merchants_dir
    write(folder, "single", 5, 2.5)
    write(folder, "many", 5, 2.5, "consignments-v1")
    write(folder, "free", 0, 0)
    await Limits(harness.ledger, MerchantFiles(folder, frozenset())).write()
    told = {name: await harness.raw.hvals(f"allocation:window:{name}") for name in ("single", "many", "free")}
    assert told == {"single": [b"5", b"2.5"], "many": [b"500", b"250.0"], "free": []}


async def test_a_file_that_changes_while_it_is_told(harness: Harness) -> None:
    """A limit that changes in the middle of telling the others is told the next time."""
    folder = harness.settings.merchants_dir
    for name in ("a", "b"):
        write(folder, name, 1, 0)
    merchants = MerchantFiles(folder, frozenset())
    limits = Limits(harness.ledger, merchants)
    telling = asyncio.create_task(limits.write())
    await asyncio.sleep(0)
    write(folder, "a", 222, 0)
    merchants._looked_at = float("-inf")
    await telling
    await limits.write()
    assert await harness.field("window:a", "in_flight") == "222"
