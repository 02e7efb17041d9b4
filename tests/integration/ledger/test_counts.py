"""How much there is of everything, as an operator's overview reads it."""

import json

from tests.factories.ledger_harness import Bench
from worker.observability.overview import MerchantCounts, count_all

API = "api.example#1"


async def counts_of(bench: Bench, merchant: str = "acme") -> MerchantCounts:
    """What is counted of one merchant."""
    counts = await count_all(bench.redis, bench.settings)
    return next(each for each in counts.merchants if each.merchant == merchant)


async def test_nothing_yet(bench: Bench) -> None:
    """Of a merchant that has nothing but a file everything is 0."""
    (bench.settings.merchants_dir / "acme.toml").write_text("")
    counts = await counts_of(bench)
    assert (counts.due, counts.parked, counts.working, counts.allocated, counts.failed) == (0, 0, 0, 0, 0)
    assert (counts.asked_again, counts.carrier_changed, counts.oldest_due_s, counts.paused) == (0, 0, None, None)


async def test_calls_after_an_open_one_are_counted(bench: Bench) -> None:
    """Each such call counts once for its merchant, if who reports it holds the shipment."""
    claim = await bench.take("acme", "a", "b")
    told = {"api": API, "answer": "good", "asked_again": 1}
    await bench.report_of(claim.shipments, "another", "keep", **told)
    await bench.report_of(claim.shipments[:1], claim.lease_token, "keep", **told)
    await bench.report_of(claim.shipments, claim.lease_token, "allocated", event="{}", **told)
    counts = await counts_of(bench)
    assert (counts.asked_again, counts.allocated, counts.carrier_changed) == (3, 2, 0)


async def test_a_pause_is_shown(bench: Bench) -> None:
    """Why a merchant is paused is told with its counts."""
    await bench.accept("acme", "a")
    await bench.pause("acme")
    assert (await counts_of(bench)).paused == "the key is refused"


async def test_open_breakers_are_shown(bench: Bench) -> None:
    """A breaker is named by host and key, or by the host alone, with the time until one call tries."""
    for merchant in ("one", "two"):
        claim = await bench.take(merchant, *(f"sp_{n}" for n in range(10)))
        await bench.report(claim, "keep", api=f"foreign.example#{merchant}", answer="foreign")
        await bench.report(claim, "keep", api=API, answer="bad")
    breakers = (await count_all(bench.redis, bench.settings)).breakers
    assert sorted(breaker.api for breaker in breakers) == [API, "foreign.example"]
    assert all(0 < breaker.probe_in_s <= 1 for breaker in breakers)


async def test_counts_go_into_json(bench: Bench) -> None:
    """The figures are plain numbers."""
    await bench.report(await bench.take("acme", "a"), "allocated", event="{}", asked_again=1)
    counts = await counts_of(bench)
    figures = [counts.allocated, counts.asked_again, counts.carrier_changed]
    assert json.loads(json.dumps(figures)) == [1, 1, 0]
