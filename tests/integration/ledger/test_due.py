"""What is taken: due shipments of every merchant in turn, each by one child."""

import asyncio
from collections import Counter

import pytest

from config.settings import Settings
from tests.factories.ledger_harness import STEPS, Bench, new, references, step
from worker.ledger.ledger import FARTHEST_WAIT_S
from worker.streams.orders import GROUP

FAR_AHEAD = 1e15


async def test_a_turn_is_one_merchants(bench: Bench) -> None:
    """At a turn a merchant gets no more than the settings say; one lease token holds all that is taken together."""
    for merchant, count in {"one": 250, "two": 30, "three": 1}.items():
        await bench.accept(merchant, *(f"{merchant}-{n}" for n in range(count)))
    found = await bench.take_due()
    assert all(reference.startswith(claim.merchant) for claim in found for reference in references(claim))
    assert sorted((claim.merchant, len(claim.shipments)) for claim in found) == [
        ("one", 100),
        ("three", 1),
        ("two", 30),
    ]
    assert len({claim.lease_token for claim in found}) == 1


@pytest.mark.parametrize("most", [1, 2, 5])
async def test_no_more_than_asked_for(bench: Bench, most: int) -> None:
    """A child gets as many shipments as it asks for, learns that more is due, and leaves the rest due."""
    for merchant in "abcdefg":
        await bench.accept(merchant, "x")
    found = []
    while (due := await bench.ledger.take(most, owns_nothing=True)).claim:
        found.append((due.shipments, due.is_more))
    assert [count for count, _ in found] == [most] * (7 // most) + [7 % most] * (7 % most > 0)
    assert [is_more for _, is_more in found] == [True] * (len(found) - 1) + [False]


async def test_a_first_call_is_permitted_at_once(settings: Settings) -> None:
    """Where nothing stands against it a new shipment is taken with the permit of its first call, which is noted."""
    bench = Bench(settings, admits=True)
    claim = await bench.take("acme", "a")
    assert (set(claim.admitted), await bench.phase("acme", "a")) == ({"a"}, "c")
    await bench.close()


@pytest.mark.parametrize("against", ["quotes first", "a limit", "a pause", "throttled", "called before", "in doubt"])
async def test_a_first_call_that_needs_leave(settings: Settings, against: str) -> None:
    """Where something may stand against a call it is permitted on its own, as ever."""
    bench = Bench(settings, admits=True)
    steps = (step("quote", "cheapest"),) if against == "quotes first" else STEPS
    await bench.ledger.accept(new("acme", "a", steps=steps), [], [], GROUP)
    match against:
        case "a limit":
            await bench.ledger.set_limits("acme", 3, 0)
        case "a pause":
            await bench.pause("acme")
        case "throttled":
            await bench.raw.hset("allocation:not_before", "m:acme", 4e12)
        case "called before":
            (claim,) = await bench.take_due()
            await bench.report_of([claim.shipments[0].called()], claim.lease_token, "park")
        case "in doubt":
            await bench.become_another_server()
    (claim,) = await bench.take_due()
    assert (set(claim.admitted), await bench.phase("acme", "a")) == (set(), "r")
    await bench.close()


async def test_a_breaker_is_told_of(settings: Settings) -> None:
    """Whose API is up is known to whoever calls it: the breakers that are open come along."""
    bench = Bench(settings, admits=True)
    await bench.raw.hset("allocation:not_before", "b:api.example#1", 4e12)
    claim = await bench.take("acme", "a")
    assert (set(claim.admitted), set(claim.stopped)) == ({"a"}, {"b:api.example#1"})
    await bench.close()


async def test_nothing_is_taken_twice(settings: Settings, bench: Bench) -> None:
    """However many take at once, every shipment is taken exactly once."""
    for number in range(8):
        await bench.accept(f"merchant{number}", *(f"sp_{n}" for n in range(150)))
    others = [Bench(settings) for _ in range(16)]
    found = await asyncio.gather(*(other.take_all(70) for other in others))
    await asyncio.gather(*(other.close() for other in others))
    counted = Counter((claim.merchant, each) for some in found for claim in some for each in references(claim))
    assert len(counted) == 8 * 150
    assert set(counted.values()) == {1}


async def test_a_parked_shipment_waits(bench: Bench) -> None:
    """A shipment is not taken before it is due, and is taken once it is."""
    claim = await bench.take("acme", "now", "later")
    now, later = sorted(claim.shipments, key=lambda held: held.reference != "now")
    await bench.report_of([later], claim.lease_token, "park", due=bench.ledger.now() + 3600)
    await bench.report_of([now], claim.lease_token, "park", due=0)
    assert [references(claim) for claim in await bench.take_all()] == [["now"]]
    await bench.end_waits("acme")
    assert [references(claim) for claim in await bench.take_all()] == [["later"]]


async def test_a_due_time_in_the_past_is_now(bench: Bench) -> None:
    """A shipment that is parked until a time that has been comes after those that have waited for longer."""
    claim = await bench.take("acme", "parked")
    await bench.accept("acme", "waiting")
    await bench.next_millisecond()
    await bench.report(claim, "park", due=0)
    (claim,) = await bench.take_due()
    assert references(claim) == ["waiting", "parked"]


@pytest.mark.parametrize("kind", ["waits", "leases"])
async def test_a_clock_that_jumped_strands_nothing(bench: Bench, kind: str) -> None:
    """A due time or a lease further ahead than any honest one counts as over when a child begins to serve."""
    await bench.take("acme", "a")
    await bench.accept("acme", "b")
    await (bench.end_waits("acme", FAR_AHEAD) if kind == "waits" else bench.end_leases("acme", FAR_AHEAD))
    due = await bench.ledger.take(1000, owns_nothing=True, begins=True)
    found = {each for claim in due.claim for each in references(claim)}
    assert ("b" if kind == "waits" else "a") in found


async def test_a_clock_that_jumped_under_load(bench: Bench) -> None:
    """Whoever waits for a time far ahead has its turn beside busy merchants, all of its shipments, by any child."""
    far = [f"sp_{number}" for number in range(450)]
    await bench.accept("far", *far)
    await bench.end_waits("far", FAR_AHEAD)
    found: set[str] = set()
    for turn in range(60):
        await bench.accept("busy", *(f"{turn}_{number}" for number in range(20)))
        due = await bench.ledger.take(50, owns_nothing=False, begins=turn % 4 == 0)
        found |= {each for claim in due.claim if claim.merchant == "far" for each in references(claim)}
        await bench.settle(due.claim)
    assert found == {*far}


async def test_the_longest_honest_wait_is_kept(bench: Bench) -> None:
    """A wait within the longest that anybody is parked for is no clock that jumped."""
    claim = await bench.take("acme", "a")
    await bench.report(claim, "park", due=bench.ledger.now() + FARTHEST_WAIT_S - 60)
    await bench.look_at("acme")
    assert await bench.take_all() == []


async def test_a_merchant_with_nothing_left_leaves_the_line(bench: Bench) -> None:
    """Whoever has nothing unfinished is looked at no more."""
    await bench.accept("acme", "a")
    await bench.settle(await bench.take_all())
    await bench.look_at("acme")
    await bench.take_all()
    assert await bench.raw.zcard("allocation:merchants") == 0
