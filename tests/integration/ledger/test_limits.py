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


async def test_in_flight_holds_over_all_claims(settings: Settings, harness: Harness) -> None:
    """However many claims are concurrent, no more of a merchant's shipments are working than its file allows."""
    await harness.ledger.set_limits("acme", 30, 0)
    await harness.accept("acme", *(f"sp_{n}" for n in range(300)))
    claimers = [Harness(settings) for _ in range(6)]
    found = await asyncio.gather(*(claimer.claim_all(2) for claimer in claimers))
    await asyncio.gather(*(claimer.close() for claimer in claimers))
    batches = [batch for some in found for batch in some]
    assert sum(len(batch.shipments) for batch in batches) == 30
    await harness.settle(batches[:1])
    assert sum(len(batch.shipments) for batch in await harness.claim_all()) == len(batches[0].shipments)


async def test_a_removed_limit(harness: Harness) -> None:
    """Without a limit only the window counts."""
    await harness.ledger.set_limits("acme", 5, 0)
    await harness.ledger.set_limits("acme", 0, 0)
    await harness.accept("acme", *(f"sp_{n}" for n in range(150)))
    assert sum(len(batch.shipments) for batch in await harness.claim_all()) == 150


async def test_a_bulk_call_without_a_slot(harness: Harness) -> None:
    """If the first permit of a bulk call is refused, the others are not requested: none is marked as called for."""
    claim = await harness.claim("acme", "a", "b", "c")
    slow = [
        PermitRequest(shipment=s, lease_token=claim.lease_token, purpose="allocate", per_second=0.5)
        for s in claim.shipments
    ]
    assert [permit.may_call for permit in await harness.ledger.permit_bulk(slow[:1])] == [True]
    (permit,) = await harness.ledger.permit_bulk(slow[1:])
    assert (permit.owned, permit.park) == (True, True)
    assert [await harness.phase("acme", one.shipment.reference) for one in slow] == ["c", "r", "r"]


async def test_a_bulk_call_takes_one_turn(harness: Harness) -> None:
    """The first shipment of a bulk call takes its turn, the others share it; one that lost its lease is left out."""
    claim = await harness.claim("acme", "a", "b", "c")
    first, second, third = (
        PermitRequest(shipment=s, lease_token=claim.lease_token, purpose="allocate", per_second=per_second)
        for s, per_second in zip(claim.shipments, (0.5, 0.0, 0.0), strict=True)
    )
    permits = await harness.ledger.permit_bulk([first, second._replace(lease_token="another-task"), third])
    assert [permit.may_call for permit in permits] == [True, False, True]


async def test_calls_are_spaced(settings: Settings, harness: Harness) -> None:
    """Calls of two workers get turns one after the other, at the interval of the limit."""
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


async def test_a_long_wait_takes_no_turn(harness: Harness) -> None:
    """A turn after more than half a second is not taken: the shipment is parked, and the turn stays free."""
    claim = await harness.claim("acme", *(f"sp_{n}" for n in range(6)))
    permits = await asyncio.gather(
        *(harness.permit(held, claim.lease_token, per_second=4.0) for held in claim.shipments)
    )
    assert [permit.park for permit in permits] == [False] * 3 + [True] * 3
    assert [permit.wait_s for permit in permits] == pytest.approx([0, 0.25, 0.5, 0.75, 0.75, 0.75], abs=0.002)


async def test_a_claim_is_limited_by_calls_per_second(harness: Harness) -> None:
    """A merchant with calls per second gets what can be called for within half a second, at least one shipment."""
    for merchant, per_second in {"slow": 0.2, "ten": 10.0}.items():
        await harness.ledger.set_limits(merchant, 0, per_second)
        await harness.accept(merchant, *(f"sp_{n}" for n in range(50)))
    found = sorted((claim.merchant, len(claim.shipments)) for claim in await harness.claim_due())
    assert found == [("slow", 1), ("ten", 5)]


async def test_the_limits_of_files(harness: Harness) -> None:
    """The ledger gets the limits of every file, in shipments: a call for a hundred counts a hundred."""
    folder = harness.settings.merchants_dir
    write(folder, "single", 5, 2.5)
    write(folder, "many", 5, 2.5, "consignments-v1")
    write(folder, "free", 0, 0)
    await Limits(harness.ledger, MerchantFiles(folder, frozenset())).write()
    limits = {name: await harness.raw.hvals(f"allocation:window:{name}") for name in ("single", "many", "free")}
    assert limits == {"single": [b"5", b"2.5"], "many": [b"500", b"250.0"], "free": []}


async def test_a_file_that_changes_meanwhile(harness: Harness) -> None:
    """A limit that changes while the others are sent is sent the next time."""
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
