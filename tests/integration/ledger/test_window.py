"""A merchant's window: how many of its shipments are at work at once, by how its API did lately."""

import pytest

from tasks.work.ports import Claim
from tests.factories.ledger_harness import Harness

API = "api.example#1"


async def hand_out(harness: Harness, count: int) -> list[Claim]:
    """Take everything that may be at work of so many shipments."""
    await harness.accept("acme", *(f"sp_{n}" for n in range(count)))
    return await harness.claim_all()


async def window(harness: Harness) -> float:
    """The merchant's window as it is now."""
    return float(await harness.field("window:acme", "window"))


async def test_it_begins_at_two_hundred(harness: Harness) -> None:
    """Of a merchant that is new, two hundred shipments are at work at once, whatever is due."""
    assert sum(len(claim.shipments) for claim in await hand_out(harness, 1000)) == 200
    assert await harness.claim_all() == []


async def test_it_doubles_with_a_round_of_good_answers(harness: Harness) -> None:
    """Every good answer makes room for one more, so that a round of them doubles what is at work."""
    for claim in await hand_out(harness, 1000):
        await harness.report(claim, "allocated", event="{}", api=API, signal="good")
    assert sum(len(batch.shipments) for batch in await harness.claim_all()) == 400


async def test_it_has_an_end(harness: Harness) -> None:
    """However good the answers, no more than two thousand shipments of a merchant are at work at once."""
    (claim,) = await hand_out(harness, 100)
    await harness.raw.hset("allocation:window:acme", "window", 1950)
    await harness.report(claim, "allocated", event="{}", api=API, signal="good")
    assert await window(harness) == 2000


@pytest.mark.parametrize("answer", ["bad", ""])
async def test_other_answers_leave_it(harness: Harness, answer: str) -> None:
    """A server error and no call at all say nothing about how many calls at once are welcome."""
    (claim,) = await hand_out(harness, 9)
    await harness.report(claim, "park", api=API, signal=answer)
    assert await harness.field("window:acme", "window") == ""


async def test_throttling_halves_what_is_at_work(harness: Harness) -> None:
    """The window becomes half of what was at work when the API said that this was too much."""
    first, _ = await hand_out(harness, 120)
    await harness.report_of(first.shipments[:1], first.lease_token, "park", due=4e9, api=API, signal="throttled")
    assert await window(harness) == 60


async def test_a_whole_batch_is_throttled_at_once(harness: Harness) -> None:
    """One call for a hundred shipments that is throttled halves the window like any other."""
    (claim,) = await hand_out(harness, 100)
    await harness.report(claim, "park", due=4e9, api=API, signal="throttled")
    assert await window(harness) == 50


async def test_it_is_halved_once_a_second(harness: Harness) -> None:
    """Answers to calls that were under way together halve the window once; a second later it may be halved again."""
    first, _ = await hand_out(harness, 120)
    for held in first.shipments[:3]:
        await harness.report_of([held], first.lease_token, "keep", api=API, signal="throttled")
    assert await window(harness) == 60
    await harness.raw.hset("allocation:window:acme", "at", 1)
    await harness.report_of(first.shipments[:1], first.lease_token, "keep", api=API, signal="throttled")
    assert await window(harness) == 30


async def test_one_shipment_is_always_at_work(harness: Harness) -> None:
    """However often an API throttles, one shipment at a time is still tried."""
    (claim,) = await hand_out(harness, 1)
    for _ in range(3):
        await harness.raw.hset("allocation:window:acme", "at", 1)
        await harness.report(claim, "keep", api=API, signal="throttled")
    assert await window(harness) == 1
    await harness.report(claim, "park")
    assert sum(len(batch.shipments) for batch in await harness.claim_all()) == 1


@pytest.mark.parametrize(("before", "after"), [(10, 20), (40, 40 + 10 / 40)])
async def test_it_recovers(harness: Harness, before: float, after: float) -> None:
    """Below where it was throttled the window doubles in a round; from there it grows by one in a round."""
    (claim,) = await hand_out(harness, 10)
    await harness.raw.hset("allocation:window:acme", mapping={"window": before, "turned": 40})
    await harness.report(claim, "allocated", event="{}", api=API, signal="good")
    assert await window(harness) == pytest.approx(after)


async def test_a_late_task_still_tells_how_the_api_did(harness: Harness) -> None:
    """How an API answered counts, whoever holds the shipment by now."""
    (late,) = await hand_out(harness, 10)
    await harness.expire_leases("acme")
    await harness.claim_all()
    assert await harness.report(late, "keep", api=API, signal="good") == [False] * 10
    assert await window(harness) == 210
