"""What stands before an API and answers in its place: an outage of a host and key, and then of the whole host."""

from typing import Any

from tasks.work.ports import Claim, Permit
from tests.factories.ledger_harness import Harness

KEYS = tuple(f"api.example#{n}" for n in range(3))
HOST = "h:api.example"


async def ten(harness: Harness, merchant: str) -> Claim:
    """Ten shipments of a merchant in a task's hands."""
    return await harness.claim(merchant, *(f"sp_{n}" for n in range(10)))


async def hands(harness: Harness) -> list[Claim]:
    """Ten shipments of each of three merchants, who have a key each."""
    return [await ten(harness, merchant) for merchant in ("one", "two", "three")]


async def call_record(harness: Harness, claim: Claim, api: str, answer: str, count: int = 10) -> None:
    """Report so many answers."""
    await harness.report_of(claim.shipments[:count], claim.lease_token, "keep", api=api, signal=answer)


async def asked(harness: Harness, claim: Claim, api: str, **rest: Any) -> Permit:
    """Ask to call."""
    return await harness.permit(claim.shipments[0], claim.lease_token, api=api, **rest)


async def block(harness: Harness) -> set[str]:
    """What is held up now."""
    return {name.decode() for name in await harness.raw.hkeys("allocation:blocked_until")}


async def its_time_is_over(harness: Harness) -> None:
    """Let the time of every open breaker have passed, without a probe under way."""
    for name in await block(harness):
        await harness.raw.hset("allocation:blocked_until", name, 1)
        await harness.raw.delete(f"allocation:probe:{name}")


async def test_one_key_is_one_keys_outage(harness: Harness) -> None:
    """While only one key of a host gets foreign answers, the others are called."""
    one, two, _ = await hands(harness)
    await call_record(harness, one, KEYS[0], "foreign")
    assert await block(harness) == {f"b:{KEYS[0]}"}
    assert not (await asked(harness, one, KEYS[0])).may_call
    assert (await asked(harness, two, KEYS[1])).may_call


async def test_two_keys_are_the_hosts_outage(harness: Harness) -> None:
    """With foreign answers to two keys nobody calls the host, whatever the key; another host is called."""
    one, two, three = await hands(harness)
    await call_record(harness, one, KEYS[0], "foreign")
    await call_record(harness, two, KEYS[1], "foreign")
    assert await block(harness) == {HOST}
    assert not (await asked(harness, three, KEYS[2])).may_call
    assert (await asked(harness, three, "other.example#1")).may_call


async def test_one_probe_for_all_keys(harness: Harness) -> None:
    """When its time is over one call speaks for the host; a proper answer closes everything."""
    claim = await hands(harness)
    for number in (0, 1):
        await call_record(harness, claim[number], KEYS[number], "foreign")
    await its_time_is_over(harness)
    assert [(await asked(harness, claim[n], KEYS[n])).may_call for n in range(3)] == [True, False, False]
    await call_record(harness, claim[0], KEYS[0], "good", 1)
    assert [(await asked(harness, claim[n], KEYS[n])).may_call for n in range(3)] == [True] * 3
    assert await block(harness) == set()
    assert await harness.raw.exists("allocation:foreign:api.example", "allocation:breakers") == 0


async def test_a_breaker_that_was_open_already(harness: Harness) -> None:
    """Keys whose breakers opened for timeouts, and whose probes get foreign answers, make it the host's outage too."""
    claim = await hands(harness)
    for number in (0, 1):
        await call_record(harness, claim[number], KEYS[number], "bad")
    assert await block(harness) == {f"b:{KEYS[0]}", f"b:{KEYS[1]}"}
    await its_time_is_over(harness)
    for number in (0, 1):
        await call_record(harness, claim[number], KEYS[number], "foreign", 1)
    assert await block(harness) == {HOST}


async def test_a_proper_answer_closes_all(harness: Harness) -> None:
    """A key's own breaker that opened under the host's is closed with it."""
    one, two, _ = await hands(harness)
    for claim, api in ((one, KEYS[0]), (two, KEYS[1])):
        await call_record(harness, claim, api, "foreign")
    await harness.raw.hset("allocation:blocked_until", f"b:{KEYS[0]}", 1)
    await its_time_is_over(harness)
    await call_record(harness, one, KEYS[0], "denied", 1)
    assert await block(harness) == set()


async def test_who_is_answered_well_is_not_struck(harness: Harness) -> None:
    """A key whose answers are proper again does not count when another key gets foreign ones."""
    one, two, _ = await hands(harness)
    await call_record(harness, one, KEYS[0], "foreign")
    await its_time_is_over(harness)
    await call_record(harness, one, KEYS[0], "good", 1)
    await call_record(harness, two, KEYS[1], "foreign")
    assert await block(harness) == {f"b:{KEYS[1]}"}


async def test_pauses_grow_to_ten_minutes(harness: Harness) -> None:
    """An ingress is not put right within seconds: the time for which nobody calls doubles up to ten minutes."""
    one, *_ = await hands(harness)
    await call_record(harness, one, KEYS[0], "foreign")
    waits = []
    for _ in range(11):
        waits.append(int(await harness.field(f"breaker:b:{KEYS[0]}", "opened")) / 1000)
        await its_time_is_over(harness)
        await call_record(harness, one, KEYS[0], "foreign", 1)
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600]
