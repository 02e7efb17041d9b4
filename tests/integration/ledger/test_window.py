"""A merchant's window: how many of its shipments may be working, by its API's recent responses."""

import pytest

from tasks.work.ports import Claim
from tests.factories.ledger_harness import Harness

API = "api.example#1"


async def claim_window(harness: Harness, count: int) -> list[Claim]:
    """Accept this number of shipments, and claim what the window allows."""
    await harness.accept("acme", *(f"sp_{n}" for n in range(count)))
    return await harness.claim_all()


async def window(harness: Harness) -> float:
    """The merchant's current window."""
    return float(await harness.field("window:acme", "window"))


async def test_it_begins_at_two_hundred(harness: Harness) -> None:
    """For a new merchant two hundred shipments are working, whatever is due."""
    assert sum(len(claim.shipments) for claim in await claim_window(harness, 1000)) == 200
    assert await harness.claim_all() == []


async def test_it_doubles_with_a_round_of_good_responses(harness: Harness) -> None:
    """Every good response increases the window by one, so that a round of them doubles it."""
    for claim in await claim_window(harness, 1000):
        await harness.report(claim, "allocated", event="{}", api=API, signal="good")
    assert sum(len(batch.shipments) for batch in await harness.claim_all()) == 400


async def test_it_is_bounded(harness: Harness) -> None:
    """However good the responses, at most two thousand shipments of a merchant are working."""
    (claim,) = await claim_window(harness, 100)
    await harness.raw.hset("allocation:window:acme", "window", 1950)
    await harness.report(claim, "allocated", event="{}", api=API, signal="good")
    assert await window(harness) == 2000


@pytest.mark.parametrize("signal", ["bad", ""])
async def test_other_responses_do_not_change_it(harness: Harness, signal: str) -> None:
    """A server error or no call at all is no evidence for another window."""
    (claim,) = await claim_window(harness, 9)
    await harness.report(claim, "park", api=API, signal=signal)
    assert await harness.field("window:acme", "window") == ""


async def test_throttling_halves_the_working_shipments(harness: Harness) -> None:
    """The window becomes half of what was working when the API throttled."""
    first, _ = await claim_window(harness, 120)
    await harness.report_of(first.shipments[:1], first.lease_token, "park", due=4e9, api=API, signal="throttled")
    assert await window(harness) == 60


async def test_a_whole_batch_is_throttled_at_once(harness: Harness) -> None:
    """A throttled call for a hundred shipments halves the window like any other."""
    (claim,) = await claim_window(harness, 100)
    await harness.report(claim, "park", due=4e9, api=API, signal="throttled")
    assert await window(harness) == 50


async def test_it_is_halved_once_a_second(harness: Harness) -> None:
    """Responses to calls that were in flight together halve the window once; a second later it may be halved again."""
    first, _ = await claim_window(harness, 120)
    for held in first.shipments[:3]:
        await harness.report_of([held], first.lease_token, "keep", api=API, signal="throttled")
    assert await window(harness) == 60
    await harness.raw.hset("allocation:window:acme", "at", 1)
    await harness.report_of(first.shipments[:1], first.lease_token, "keep", api=API, signal="throttled")
    assert await window(harness) == 30


async def test_it_is_at_least_one(harness: Harness) -> None:
    """However often an API throttles, one shipment at a time is still worked on."""
    (claim,) = await claim_window(harness, 1)
    for _ in range(3):
        await harness.raw.hset("allocation:window:acme", "at", 1)
        await harness.report(claim, "keep", api=API, signal="throttled")
    assert await window(harness) == 1
    await harness.report(claim, "park")
    assert sum(len(batch.shipments) for batch in await harness.claim_all()) == 1


@pytest.mark.parametrize(("before", "after"), [(10, 20), (40, 40 + 10 / 40)])
async def test_it_recovers(harness: Harness, before: float, after: float) -> None:
    """Below the size at which it was throttled the window doubles in a round; above it grows by one in a round."""
    (claim,) = await claim_window(harness, 10)
    await harness.raw.hset("allocation:window:acme", mapping={"window": before, "turned": 40})
    await harness.report(claim, "allocated", event="{}", api=API, signal="good")
    assert await window(harness) == pytest.approx(after)


async def test_a_late_report_counts(harness: Harness) -> None:
    """The response of an API counts, whichever task owns the shipment by now."""
    (late,) = await claim_window(harness, 10)
    await harness.expire_leases("acme")
    await harness.claim_all()
    assert await harness.report(late, "keep", api=API, signal="good") == [False] * 10
    assert await window(harness) == 210
