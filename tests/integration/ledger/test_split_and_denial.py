"""What one task does at a time for all: split a refused call, and speak of a 403 that may be the key's."""

from tests.factories.ledger_harness import Harness

STEP = "carrier_service X"


async def test_one_split_at_a_time(harness: Harness) -> None:
    """Of a merchant and step one refused call is split at a time; of others at the same time."""
    assert await harness.ledger.split("acme", STEP, "first")
    assert not await harness.ledger.split("acme", STEP, "second")
    assert await harness.ledger.split("acme", "carrier_service Y", "second")
    assert await harness.ledger.split("other", STEP, "second")


async def test_who_splits_may_go_on(harness: Harness) -> None:
    """Who splits asks again for each part, which makes its place last; another one gets it when it is over."""
    await harness.ledger.split("acme", STEP, "first")
    (key,) = await harness.raw.keys("allocation:split:*")
    await harness.raw.pexpire(key, 1000)
    assert await harness.ledger.split("acme", STEP, "first")
    assert await harness.raw.pttl(key) > 1000
    await harness.ledger.split_over("acme", STEP, "second")
    assert not await harness.ledger.split("acme", STEP, "second")
    await harness.ledger.split_over("acme", STEP, "first")
    assert await harness.ledger.split("acme", STEP, "second")


async def test_a_split_that_is_lost(harness: Harness) -> None:
    """A task that is lost in the middle holds up the next split for a lease."""
    await harness.ledger.split("acme", STEP, "first")
    (key,) = await harness.raw.keys("allocation:split:*")
    assert 0 < await harness.raw.pttl(key) <= harness.settings.lease_seconds * 1000


async def test_the_first_denial(harness: Harness) -> None:
    """Of several shipments that an API denies at a time one is the first, however often it says so."""
    asked = [("api", "a"), ("api", "b"), ("api", "a"), ("another", "b")]
    assert [await harness.ledger.first_denial(*each) for each in asked] == [True, False, True, True]
    assert 0 < await harness.raw.ttl("allocation:denied:api") <= 10


async def test_when_an_api_last_answered_well(harness: Harness) -> None:
    """The time of the last good answer is told for each kind of call; a refused key is no good answer."""
    claim = await harness.claim("acme", "a")
    assert await harness.ledger.last_good("api", "read") == 0
    await harness.report(claim, "keep", api="api", signal="good", purpose="read")
    await harness.report(claim, "keep", api="api", signal="denied", purpose="allocate")
    assert abs(await harness.ledger.last_good("api", "read") - harness.ledger.now()) < 2
    assert await harness.ledger.last_good("api", "allocate") == 0


async def test_a_good_call_speaks_for_read_backs(harness: Harness) -> None:
    """Where all goes well nothing is read back: that calls are answered well shows that the key may read."""
    claim = await harness.claim("acme", "a")
    await harness.report(claim, "keep", api="api", signal="good", purpose="allocate")
    assert abs(await harness.ledger.last_good("api", "read") - harness.ledger.now()) < 2
    assert await harness.ledger.last_good("api", "quote") == 0
