"""Claims: due shipments of every merchant in turn, each claimed by one child."""

import asyncio
from collections import Counter

import pytest

from config.settings import Settings
from tests.factories.ledger_harness import STEPS, Harness, new, references, step
from worker.ledger.ledger import FARTHEST_WAIT_S
from worker.streams.orders import GROUP

FAR_AHEAD = 1e15


async def test_a_turn_belongs_to_one_merchant(harness: Harness) -> None:
    """In a turn a merchant gets at most the configured number; one lease token covers the whole claim."""
    for merchant, count in {"one": 250, "two": 30, "three": 1}.items():
        await harness.accept(merchant, *(f"{merchant}-{n}" for n in range(count)))
    found = await harness.claim_due()
    assert all(reference.startswith(claim.merchant) for claim in found for reference in references(claim))
    assert sorted((claim.merchant, len(claim.shipments)) for claim in found) == [
        ("one", 100),
        ("three", 1),
        ("two", 30),
    ]
    assert len({claim.lease_token for claim in found}) == 1


@pytest.mark.parametrize("most", [1, 2, 5])
async def test_a_claim_is_bounded(harness: Harness, most: int) -> None:
    """A child gets at most the requested number, and the claim states that more shipments are due."""
    for merchant in "abcdefg":
        await harness.accept(merchant, "x")
    found = []
    while (due := await harness.ledger.claim(most, is_empty=True)).claims:
        found.append((due.shipments, due.is_more))
    assert [count for count, _ in found] == [most] * (7 // most) + [7 % most] * (7 % most > 0)
    assert [is_more for _, is_more in found] == [True] * (len(found) - 1) + [False]


async def test_a_first_call_is_permitted_with_the_claim(settings: Settings) -> None:
    """Unless something prevents it, a new shipment is claimed with the permit of its first call, which is recorded."""
    harness = Harness(settings, admits=True)
    claim = await harness.claim("acme", "a")
    assert (set(claim.permitted), await harness.phase("acme", "a")) == ({"a"}, "c")
    await harness.close()


@pytest.mark.parametrize("against", ["quotes first", "a limit", "a pause", "throttled", "called before", "in doubt"])
async def test_a_first_call_that_needs_a_permit(settings: Settings, against: str) -> None:
    """If something may prevent a call, its permit must be requested."""
    harness = Harness(settings, admits=True)
    steps = (step("quote", "cheapest"),) if against == "quotes first" else STEPS
    await harness.ledger.accept(new("acme", "a", steps=steps), [], [], GROUP)
    match against:
        case "a limit":
            await harness.ledger.set_limits("acme", 3, 0)
        case "a pause":
            await harness.pause("acme")
        case "throttled":
            await harness.raw.hset("allocation:blocked_until", "m:acme", 4e12)
        case "called before":
            (claim,) = await harness.claim_due()
            await harness.report_of([claim.shipments[0].called()], claim.lease_token, "park")
        case "in doubt":
            await harness.simulate_server_change()
    (claim,) = await harness.claim_due()
    assert (set(claim.permitted), await harness.phase("acme", "a")) == (set(), "r")
    await harness.close()


async def test_open_breakers_are_returned(settings: Settings) -> None:
    """A claim returns the open breakers."""
    harness = Harness(settings, admits=True)
    await harness.raw.hset("allocation:blocked_until", "b:api.example#1", 4e12)
    claim = await harness.claim("acme", "a")
    assert (set(claim.permitted), set(claim.stopped)) == ({"a"}, {"b:api.example#1"})
    await harness.close()


async def test_nothing_is_claimed_twice(settings: Settings, harness: Harness) -> None:
    """However many claims are concurrent, every shipment is claimed exactly once."""
    for number in range(8):
        await harness.accept(f"merchant{number}", *(f"sp_{n}" for n in range(150)))
    others = [Harness(settings) for _ in range(16)]
    found = await asyncio.gather(*(other.claim_all(70) for other in others))
    await asyncio.gather(*(other.close() for other in others))
    counted = Counter((claim.merchant, each) for some in found for claim in some for each in references(claim))
    assert len(counted) == 8 * 150
    assert set(counted.values()) == {1}


async def test_a_parked_shipment_waits(harness: Harness) -> None:
    """A shipment is not claimed before it is due."""
    claim = await harness.claim("acme", "now", "later")
    now, later = sorted(claim.shipments, key=lambda held: held.reference != "now")
    await harness.report_of([later], claim.lease_token, "park", due=harness.ledger.now() + 3600)
    await harness.report_of([now], claim.lease_token, "park", due=0)
    assert [references(claim) for claim in await harness.claim_all()] == [["now"]]
    await harness.make_due("acme")
    assert [references(claim) for claim in await harness.claim_all()] == [["later"]]


async def test_a_due_time_in_the_past_is_now(harness: Harness) -> None:
    """A shipment parked until a time in the past comes after those that have waited longer."""
    claim = await harness.claim("acme", "parked")
    await harness.accept("acme", "waiting")
    await harness.next_millisecond()
    await harness.report(claim, "park", due=0)
    (claim,) = await harness.claim_due()
    assert references(claim) == ["waiting", "parked"]


@pytest.mark.parametrize("kind", ["waits", "leases"])
async def test_a_clock_jump_strands_nothing(harness: Harness, kind: str) -> None:
    """A due time or a lease that is too far ahead counts as over when a claim loop starts."""
    await harness.claim("acme", "a")
    await harness.accept("acme", "b")
    await (harness.make_due("acme", FAR_AHEAD) if kind == "waits" else harness.expire_leases("acme", FAR_AHEAD))
    due = await harness.ledger.claim(1000, is_empty=True, is_starting=True)
    found = {each for claim in due.claims for each in references(claim)}
    assert ("b" if kind == "waits" else "a") in found


async def test_a_clock_jump_under_load(harness: Harness) -> None:
    """Shipments scheduled too far ahead get their turn beside busy merchants, all of them, from any child."""
    far = [f"sp_{number}" for number in range(450)]
    await harness.accept("far", *far)
    await harness.make_due("far", FAR_AHEAD)
    found: set[str] = set()
    for turn in range(60):
        await harness.accept("busy", *(f"{turn}_{number}" for number in range(20)))
        due = await harness.ledger.claim(50, is_empty=False, is_starting=turn % 4 == 0)
        found |= {each for claim in due.claims if claim.merchant == "far" for each in references(claim)}
        await harness.settle(due.claims)
    assert found == {*far}


async def test_the_longest_wait_is_kept(harness: Harness) -> None:
    """A wait within the longest possible one is no clock jump."""
    claim = await harness.claim("acme", "a")
    await harness.report(claim, "park", due=harness.ledger.now() + FARTHEST_WAIT_S - 60)
    await harness.make_merchant_due("acme")
    assert await harness.claim_all() == []


async def test_a_merchant_without_shipments_leaves_the_queue(harness: Harness) -> None:
    """A merchant without unfinished shipments gets no more turns."""
    await harness.accept("acme", "a")
    await harness.settle(await harness.claim_all())
    await harness.make_merchant_due("acme")
    await harness.claim_all()
    assert await harness.raw.zcard("allocation:merchant_queue") == 0
