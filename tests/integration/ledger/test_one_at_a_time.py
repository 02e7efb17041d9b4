"""What one task does at a time for all: split a refused call, and speak of a 403 that may be the key's."""

from tests.factories.ledger_harness import Bench

STEP = "carrier_service X"


async def test_one_split_at_a_time(bench: Bench) -> None:
    """Of a merchant and step one refused call is split at a time; of others at the same time."""
    assert await bench.ledger.split("acme", STEP, "first")
    assert not await bench.ledger.split("acme", STEP, "second")
    assert await bench.ledger.split("acme", "carrier_service Y", "second")
    assert await bench.ledger.split("other", STEP, "second")


async def test_who_splits_may_go_on(bench: Bench) -> None:
    """Who splits asks again for each part, which makes its place last; another one gets it when it is over."""
    await bench.ledger.split("acme", STEP, "first")
    (key,) = await bench.raw.keys("allocation:split:*")
    await bench.raw.pexpire(key, 1000)
    assert await bench.ledger.split("acme", STEP, "first")
    assert await bench.raw.pttl(key) > 1000
    await bench.ledger.split_over("acme", STEP, "second")
    assert not await bench.ledger.split("acme", STEP, "second")
    await bench.ledger.split_over("acme", STEP, "first")
    assert await bench.ledger.split("acme", STEP, "second")


async def test_a_split_that_is_lost(bench: Bench) -> None:
    """A task that is lost in the middle holds up the next split for a lease."""
    await bench.ledger.split("acme", STEP, "first")
    (key,) = await bench.raw.keys("allocation:split:*")
    assert 0 < await bench.raw.pttl(key) <= bench.settings.lease_seconds * 1000


async def test_the_first_denial(bench: Bench) -> None:
    """Of several shipments that an API denies at a time one is the first, however often it says so."""
    asked = [("api", "a"), ("api", "b"), ("api", "a"), ("another", "b")]
    assert [await bench.ledger.first_denial(*each) for each in asked] == [True, False, True, True]
    assert 0 < await bench.raw.ttl("allocation:denied:api") <= 10


async def test_when_an_api_last_answered_well(bench: Bench) -> None:
    """The time of the last good answer is told for each kind of call; a refused key is no good answer."""
    claim = await bench.take("acme", "a")
    assert await bench.ledger.last_good("api", "read") == 0
    await bench.report(claim, "keep", api="api", answer="good", purpose="read")
    await bench.report(claim, "keep", api="api", answer="denied", purpose="allocate")
    assert abs(await bench.ledger.last_good("api", "read") - bench.ledger.now()) < 2
    assert await bench.ledger.last_good("api", "allocate") == 0


async def test_a_good_call_speaks_for_read_backs(bench: Bench) -> None:
    """Where all goes well nothing is read back: that calls are answered well shows that the key may read."""
    claim = await bench.take("acme", "a")
    await bench.report(claim, "keep", api="api", answer="good", purpose="allocate")
    assert abs(await bench.ledger.last_good("api", "read") - bench.ledger.now()) < 2
    assert await bench.ledger.last_good("api", "quote") == 0
