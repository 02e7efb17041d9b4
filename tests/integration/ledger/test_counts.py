"""The counts for an operator's overview."""

import json

from tests.factories.ledger_harness import Harness
from worker.observability.merchant_counts import MerchantCounts
from worker.observability.overview import read_overview

API = "api.example#1"


async def counts_of(harness: Harness, merchant: str = "acme") -> MerchantCounts:
    """The counts of one merchant."""
    counts = await read_overview(harness.store, harness.settings)
    return next(each for each in counts.merchants if each.merchant == merchant)


async def test_initial_counts(harness: Harness) -> None:
    """For a merchant with only a file every count is 0."""
    (harness.settings.merchants_dir / "acme.toml").write_text("")
    counts = await counts_of(harness)
    assert (counts.due, counts.parked, counts.working, counts.allocated, counts.failed) == (0, 0, 0, 0, 0)
    assert (counts.repeated_calls, counts.carrier_changed, counts.oldest_due_s, counts.paused) == (0, 0, None, None)


async def test_repeated_calls_are_counted(harness: Harness) -> None:
    """Each call after an open one counts once for its merchant, if the reporting task owns the shipment."""
    claim = await harness.claim("acme", "a", "b")
    feedback = {"api": API, "signal": "good", "repeated_calls": 1}
    await harness.report_of(claim.shipments, "another", "keep", **feedback)
    await harness.report_of(claim.shipments[:1], claim.lease_token, "keep", **feedback)
    await harness.report_of(claim.shipments, claim.lease_token, "allocated", event="{}", **feedback)
    counts = await counts_of(harness)
    assert (counts.repeated_calls, counts.allocated, counts.carrier_changed) == (3, 2, 0)


async def test_a_pause_is_shown(harness: Harness) -> None:
    """The reason of a merchant's pause is part of its counts."""
    await harness.accept("acme", "a")
    await harness.pause("acme")
    assert (await counts_of(harness)).paused == "the key is refused"


async def test_open_breakers_are_shown(harness: Harness) -> None:
    """A breaker has its host and key, or its host alone, and the time until its probe."""
    for merchant in ("one", "two"):
        claim = await harness.claim(merchant, *(f"sp_{n}" for n in range(10)))
        await harness.report(claim, "keep", api=f"foreign.example#{merchant}", signal="foreign")
        await harness.report(claim, "keep", api=API, signal="bad")
    breakers = (await read_overview(harness.store, harness.settings)).breakers
    assert sorted(breaker.api for breaker in breakers) == [API, "foreign.example"]
    assert all(0 < breaker.probe_in_s <= 1 for breaker in breakers)


async def test_counts_can_be_encoded(harness: Harness) -> None:
    """All figures are plain numbers."""
    await harness.report(await harness.claim("acme", "a"), "allocated", event="{}", repeated_calls=1)
    counts = await counts_of(harness)
    figures = [counts.allocated, counts.repeated_calls, counts.carrier_changed]
    assert json.loads(json.dumps(figures)) == [1, 1, 0]


async def test_window_and_limits(harness: Harness) -> None:
    """The window is the one that every merchant begins with; the limits are those of its file."""
    await harness.accept("acme", "sp_1")
    counts = await counts_of(harness)
    assert (counts.window, counts.limit_in_flight, counts.limit_per_second) == (200, 0, 0.0)
    await harness.ledger.set_limits("acme", 5, 2.5)
    counts = await counts_of(harness)
    assert (counts.window, counts.limit_in_flight, counts.limit_per_second) == (200, 5, 2.5)
