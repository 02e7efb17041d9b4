"""Foreign responses: an outage of a host and key, and then of the whole host."""

from typing import Any

from tasks.work.ports import Claim, Permit
from tests.factories.ledger_harness import Harness

KEYS = tuple(f"api.example#{n}" for n in range(3))
HOST = "h:api.example"


async def claim_ten(harness: Harness, merchant: str) -> Claim:
    """Ten claimed shipments of a merchant."""
    return await harness.claim(merchant, *(f"sp_{n}" for n in range(10)))


async def claim_ten_each(harness: Harness) -> list[Claim]:
    """Ten claimed shipments for each of three merchants, with a key each."""
    return [await claim_ten(harness, merchant) for merchant in ("one", "two", "three")]


async def report_signals(harness: Harness, claim: Claim, api: str, signal: str, count: int = 10) -> None:
    """Report a number of responses."""
    await harness.report_of(claim.shipments[:count], claim.lease_token, "keep", api=api, signal=signal)


async def request_permit(harness: Harness, claim: Claim, api: str, **rest: Any) -> Permit:
    """Request a permit to call."""
    return await harness.permit(claim.shipments[0], claim.lease_token, api=api, **rest)


async def blocked(harness: Harness) -> set[str]:
    """The names of the open breakers."""
    return {name.decode() for name in await harness.raw.hkeys("allocation:blocked_until")}


async def end_open_times(harness: Harness) -> None:
    """Let the time of every open breaker pass, without a probe in flight."""
    for name in await blocked(harness):
        await harness.raw.hset("allocation:blocked_until", name, 1)
        await harness.raw.delete(f"allocation:probe:{name}")


async def test_one_key_is_an_outage_of_one_key(harness: Harness) -> None:
    """While only one key of a host gets foreign responses, the others are called."""
    one, two, _ = await claim_ten_each(harness)
    await report_signals(harness, one, KEYS[0], "foreign")
    assert await blocked(harness) == {f"b:{KEYS[0]}"}
    assert not (await request_permit(harness, one, KEYS[0])).may_call
    assert (await request_permit(harness, two, KEYS[1])).may_call


async def test_two_keys_are_an_outage_of_the_host(harness: Harness) -> None:
    """With foreign responses for two keys the host is not called with any key; another host is called."""
    one, two, three = await claim_ten_each(harness)
    await report_signals(harness, one, KEYS[0], "foreign")
    await report_signals(harness, two, KEYS[1], "foreign")
    assert await blocked(harness) == {HOST}
    assert not (await request_permit(harness, three, KEYS[2])).may_call
    assert (await request_permit(harness, three, "other.example#1")).may_call


async def test_one_probe_for_all_keys(harness: Harness) -> None:
    """After the open time one call is the probe for the host; a proper response closes every breaker."""
    claim = await claim_ten_each(harness)
    for number in (0, 1):
        await report_signals(harness, claim[number], KEYS[number], "foreign")
    await end_open_times(harness)
    assert [(await request_permit(harness, claim[n], KEYS[n])).may_call for n in range(3)] == [True, False, False]
    await report_signals(harness, claim[0], KEYS[0], "good", 1)
    assert [(await request_permit(harness, claim[n], KEYS[n])).may_call for n in range(3)] == [True] * 3
    assert await blocked(harness) == set()
    assert await harness.raw.exists("allocation:foreign:api.example", "allocation:breakers") == 0


async def test_a_breaker_that_was_open_before(harness: Harness) -> None:
    """Keys whose breakers opened for timeouts, and whose probes get foreign responses, open the host's too."""
    claim = await claim_ten_each(harness)
    for number in (0, 1):
        await report_signals(harness, claim[number], KEYS[number], "bad")
    assert await blocked(harness) == {f"b:{KEYS[0]}", f"b:{KEYS[1]}"}
    await end_open_times(harness)
    for number in (0, 1):
        await report_signals(harness, claim[number], KEYS[number], "foreign", 1)
    assert await blocked(harness) == {HOST}


async def test_a_proper_response_closes_all(harness: Harness) -> None:
    """A key's own breaker that opened together with the host's is closed with it."""
    one, two, _ = await claim_ten_each(harness)
    for claim, api in ((one, KEYS[0]), (two, KEYS[1])):
        await report_signals(harness, claim, api, "foreign")
    await harness.raw.hset("allocation:blocked_until", f"b:{KEYS[0]}", 1)
    await end_open_times(harness)
    await report_signals(harness, one, KEYS[0], "denied", 1)
    assert await blocked(harness) == set()


async def test_a_key_with_good_responses_does_not_count(harness: Harness) -> None:
    """A key with proper responses again does not count when another key gets foreign ones."""
    one, two, _ = await claim_ten_each(harness)
    await report_signals(harness, one, KEYS[0], "foreign")
    await end_open_times(harness)
    await report_signals(harness, one, KEYS[0], "good", 1)
    await report_signals(harness, two, KEYS[1], "foreign")
    assert await blocked(harness) == {f"b:{KEYS[1]}"}


async def test_open_times_grow_to_ten_minutes(harness: Harness) -> None:
    """An ingress is not repaired within seconds: the open time doubles up to ten minutes."""
    one, *_ = await claim_ten_each(harness)
    await report_signals(harness, one, KEYS[0], "foreign")
    waits = []
    for _ in range(11):
        waits.append(int(await harness.field(f"breaker:b:{KEYS[0]}", "opened")) / 1000)
        await end_open_times(harness)
        await report_signals(harness, one, KEYS[0], "foreign", 1)
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600]
