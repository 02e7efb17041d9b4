"""Work that one task does at a time: splitting a refused call, and handling a 403 that may concern the key."""

from tests.factories.ledger_harness import Harness

STEP = "carrier_service X"


async def test_one_split_at_a_time(harness: Harness) -> None:
    """Per merchant and step one refused call is split at a time; others are independent."""
    assert await harness.ledger.split("acme", STEP, "first")
    assert not await harness.ledger.split("acme", STEP, "second")
    assert await harness.ledger.split("acme", "carrier_service Y", "second")
    assert await harness.ledger.split("other", STEP, "second")


async def test_the_owner_of_a_split_may_continue(harness: Harness) -> None:
    """Each further part prolongs the split; another task gets it when it is over."""
    await harness.ledger.split("acme", STEP, "first")
    (key,) = await harness.raw.keys("allocation:split:*")
    await harness.raw.pexpire(key, 1000)
    assert await harness.ledger.split("acme", STEP, "first")
    assert await harness.raw.pttl(key) > 1000
    await harness.ledger.split_over("acme", STEP, "second")
    assert not await harness.ledger.split("acme", STEP, "second")
    await harness.ledger.split_over("acme", STEP, "first")
    assert await harness.ledger.split("acme", STEP, "second")


async def test_a_lost_split(harness: Harness) -> None:
    """A lost task delays the next split for a lease."""
    await harness.ledger.split("acme", STEP, "first")
    (key,) = await harness.raw.keys("allocation:split:*")
    assert 0 < await harness.raw.pttl(key) <= harness.settings.lease_seconds * 1000


async def test_the_first_denial(harness: Harness) -> None:
    """Of several shipments that an API denies, one is the first, however often it is denied."""
    denials = [("api", "a"), ("api", "b"), ("api", "a"), ("another", "b")]
    assert [await harness.ledger.first_denial(*each) for each in denials] == [True, False, True, True]
    assert 0 < await harness.raw.ttl("allocation:denied:api") <= 10


async def test_the_last_good_response(harness: Harness) -> None:
    """The time of the last good response is kept for each purpose; a denial is no good response."""
    claim = await harness.claim("acme", "a")
    assert await harness.ledger.last_good("api", "read") == 0
    await harness.report(claim, "keep", api="api", signal="good", purpose="read")
    await harness.report(claim, "keep", api="api", signal="denied", purpose="allocate")
    assert abs(await harness.ledger.last_good("api", "read") - harness.ledger.now()) < 2
    assert await harness.ledger.last_good("api", "allocate") == 0


async def test_a_good_call_counts_for_read_backs(harness: Harness) -> None:
    """Without read-backs, good responses to calls show that the key may read."""
    claim = await harness.claim("acme", "a")
    await harness.report(claim, "keep", api="api", signal="good", purpose="allocate")
    assert abs(await harness.ledger.last_good("api", "read") - harness.ledger.now()) < 2
    assert await harness.ledger.last_good("api", "quote") == 0
