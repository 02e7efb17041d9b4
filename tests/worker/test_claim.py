"""What is handed out: due shipments, in batches of one merchant, each shipment to one claimer."""

import asyncio
from collections import Counter

import pytest

from config.settings import Settings
from tests.worker.bench import Bench, new, step
from worker.ledger import FARTHEST_WAIT_S
from worker.orders import GROUP

FAR_AHEAD = 1e15


async def test_a_batch_is_one_merchants(bench: Bench) -> None:
    """A batch holds shipments of one merchant, no more than the settings say, under a token of its own."""
    for merchant, count in {"one": 250, "two": 30, "three": 1}.items():
        await bench.accept(merchant, *(f"{merchant}-{n}" for n in range(count)))
    batches = await bench.claim_all()
    assert all(reference.startswith(batch.merchant) for batch in batches for reference in batch.references)
    assert sorted((b.merchant, b.shipments, len(b.references)) for b in batches) == [
        ("one", 100, 100),
        ("one", 100, 100),
        ("three", 1, 1),
        ("two", 30, 30),
    ]
    assert len({batch.token for batch in batches}) == 4


@pytest.mark.parametrize("most", [1, 2, 5])
async def test_no_more_batches_than_asked_for(bench: Bench, most: int) -> None:
    """A claim brings as many batches as were asked for, and leaves the rest due."""
    for merchant in "abcdefg":
        await bench.accept(merchant, "x")
    found = [len(await bench.ledger.claim(most)) for _ in range(7)]
    assert max(found) == most
    assert sum(found) == 7


async def test_a_batch_says_what_it_asks_for(bench: Bench) -> None:
    """A message names the first steps of its shipments, each once, and at the most five of them."""
    for name in "ggfedcba":
        await bench.ledger.accept(new("acme", f"sp_{name}", steps=(step("service_group", name),)), [], [], GROUP)
    (batch,) = await bench.ledger.claim(1)
    assert batch.strategy == ", ".join(f"service_group {name}" for name in "abcde")


async def test_nothing_is_claimed_twice(settings: Settings, bench: Bench) -> None:
    """However many claim at once, every shipment is handed out exactly once."""
    for number in range(8):
        await bench.accept(f"merchant{number}", *(f"sp_{n}" for n in range(150)))
    claimers = [Bench(settings) for _ in range(16)]
    found = await asyncio.gather(*(claimer.claim_all(3) for claimer in claimers))
    await asyncio.gather(*(claimer.close() for claimer in claimers))
    claimed = Counter((b.merchant, reference) for batches in found for b in batches for reference in b.references)
    assert len(claimed) == 8 * 150
    assert set(claimed.values()) == {1}


async def test_a_parked_shipment_waits(bench: Bench) -> None:
    """A shipment is not handed out before it is due, and is handed out once it is."""
    taken = await bench.take("acme", "now", "later")
    now, later = sorted(taken.shipments, key=lambda held: held.reference != "now")
    await bench.report_of([later], taken.task, "park", due=bench.ledger.now() + 3600)
    await bench.report_of([now], taken.task, "park", due=0)
    assert [batch.references for batch in await bench.claim_all()] == [("now",)]
    await bench.end_waits("acme")
    assert [batch.references for batch in await bench.claim_all()] == [("later",)]


async def test_a_due_time_in_the_past_is_now(bench: Bench) -> None:
    """A shipment that is parked until a time that has been comes after those that have waited for longer."""
    taken = await bench.take("acme", "parked")
    await bench.accept("acme", "waiting")
    await bench.next_millisecond()
    await bench.report(taken, "park", due=0)
    (batch,) = await bench.ledger.claim(1)
    assert batch.references == ("waiting", "parked")


@pytest.mark.parametrize("kind", ["waits", "leases"])
async def test_a_clock_that_jumped_strands_nothing(bench: Bench, kind: str) -> None:
    """A due time or a lease further ahead than any honest one counts as over."""
    await bench.take("acme", "a")
    await bench.accept("acme", "b")
    await (bench.end_waits("acme", FAR_AHEAD) if kind == "waits" else bench.end_leases("acme", FAR_AHEAD))
    found = {name for batch in await bench.claim_all() for name in batch.references}
    assert ("b" if kind == "waits" else "a") in found


async def test_the_longest_honest_wait_is_kept(bench: Bench) -> None:
    """A wait within the longest that anybody is parked for is no clock that jumped."""
    taken = await bench.take("acme", "a")
    await bench.report(taken, "park", due=bench.ledger.now() + FARTHEST_WAIT_S - 60)
    await bench.look_at("acme")
    assert await bench.claim_all() == []


async def test_a_merchant_with_nothing_left_leaves_the_line(bench: Bench) -> None:
    """Whoever has nothing unfinished is looked at no more."""
    await bench.accept("acme", "a")
    await bench.settle(await bench.claim_all())
    await bench.look_at("acme")
    await bench.claim_all()
    assert await bench.raw.zcard("allocation:merchants") == 0
