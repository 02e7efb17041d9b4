"""After two losses among others a shipment is isolated, until one of its calls has a response."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from config.settings import Settings
from tasks.work.messages import Link, LinkClaim
from tests.factories.ledger_harness import Harness, is_isolated, references
from tests.factories.lost_leases import claim_after_losses, claim_isolated, single_shipment
from worker.ledger.ledger import HOST


@pytest.fixture
def harness(settings: Settings, runner: asyncio.Runner) -> Iterator[Harness]:
    """An empty ledger of a worker with many children."""
    harness = Harness(settings.model_copy(update={"concurrency": 40}))
    yield harness
    runner.run(harness.close())


async def test_lease_tokens(harness: Harness) -> None:
    """A lease token begins with its host, and ends with a letter when it isolates a shipment."""
    together = await harness.claim("acme", "a", "b")
    alone = await claim_isolated(harness, merchant="other")
    assert together.lease_token.startswith(f"{HOST}.")
    assert (together.lease_token.endswith(".a"), alone.lease_token.endswith(".a")) == (False, True)


@pytest.mark.parametrize("purpose", ["read", "allocate"])
async def test_losses_among_others_lead_to_isolation(harness: Harness, purpose: str) -> None:
    """After two of them a shipment is claimed alone; they do not count as its own losses."""
    claim = await harness.claim("acme", "a", "b")
    for alone in (False, True):
        for held in claim.shipments:
            await harness.permit(held, claim.lease_token, purpose=purpose)
        batches = await claim_after_losses(harness)
        assert [is_isolated(batch) for batch in batches] == ([True, True] if alone else [False])
        claim = batches[0]
        assert {held.losses for held in claim.shipments} == {0}
    assert sorted(references(batch) for batch in batches) == [["a"], ["b"]]


async def test_the_others_stay_together(harness: Harness) -> None:
    """Shipments that were never lost are claimed together."""
    await harness.claim("acme", "bad1", "bad2")
    await claim_after_losses(harness)
    await harness.accept("acme", "good1", "good2")
    found = await claim_after_losses(harness)
    assert sorted((is_isolated(batch), sorted(references(batch))) for batch in found) == [
        (False, ["good1", "good2"]),
        (True, ["bad1"]),
        (True, ["bad2"]),
    ]


async def test_the_longest_wait_is_served_first(harness: Harness) -> None:
    """With room for one claim, an isolated shipment neither waits forever nor delays earlier ones."""
    await harness.claim("acme", "bad1", "bad2")
    await claim_after_losses(harness)
    await harness.expire_leases("acme")
    (first,) = await harness.claim_due()
    await harness.next_millisecond()
    await harness.accept("acme", "good")
    (second,), (third,) = await harness.claim_due(), await harness.claim_due()
    assert [references(batch) for batch in (first, second, third)] == [["bad1"], ["bad2"], ["good"]]


async def test_earlier_shipments_are_not_delayed(harness: Harness) -> None:
    """An isolated shipment does not precede those that have waited longer."""
    await harness.claim("acme", "bad")
    await claim_after_losses(harness)
    await harness.accept("acme", "good1", "good2")
    await harness.next_millisecond()
    await harness.expire_leases("acme")
    first, second = [*await harness.claim_due(), *await harness.claim_due()]
    assert [sorted(references(batch)) for batch in (first, second)] == [["good1", "good2"], ["bad"]]


async def all_lost(harness: Harness, count: int) -> None:
    """Due shipments that must be isolated."""
    await harness.claim("acme", *(f"bad{n}" for n in range(count)))
    await claim_after_losses(harness)
    await harness.expire_leases("acme")


async def test_isolation_is_limited_to_some_children(harness: Harness) -> None:
    """However many must be isolated, most children work on other shipments; the rest wait for their turn."""
    await all_lost(harness, 15)
    await harness.accept("acme", "good")
    first = await harness.claim_all()
    assert [is_isolated(batch) for batch in first].count(True) == 10
    assert [references(batch) for batch in first if not is_isolated(batch)] == [["good"]]
    settled, unfinished, *_ = (batch for batch in first if is_isolated(batch))
    await harness.settle([settled])
    assert [is_isolated(batch) for batch in await harness.claim_all()] == [True]
    await harness.report(unfinished, "park", due=4e9)
    assert [is_isolated(batch) for batch in await harness.claim_all()] == [True]


async def test_a_lost_isolated_shipment_makes_room(harness: Harness) -> None:
    """A child that was lost with its one shipment is not waited for."""
    await all_lost(harness, 11)
    first = await harness.claim_all()
    await harness.expire_leases("acme")
    (last,) = await harness.claim_all()
    assert references(last) not in [references(batch) for batch in first]


async def test_a_turn_is_one_isolated_shipment(harness: Harness) -> None:
    """Many isolated shipments of a merchant leave turns to other merchants."""
    await harness.claim("acme", *(f"bad{n}" for n in range(5)))
    await claim_after_losses(harness)
    await harness.expire_leases("acme")
    await harness.accept("other", "x")
    assert [claim.merchant for _ in range(2) for claim in await harness.claim_due()][:2] == ["acme", "other"]


@pytest.mark.parametrize("verdict", ["hand", "park"])
async def test_a_response_clears_losses(harness: Harness, verdict: Any) -> None:
    """A shipment whose call had a response did not kill its worker; it is claimed with others again."""
    claim = await claim_isolated(harness)
    await harness.report(claim, verdict, api="api", signal="bad", purpose="allocate", entry={"action": "allocate"})
    if verdict == "hand":
        await harness.expire_leases("acme")
    (batch,) = await harness.claim_all()
    assert (is_isolated(batch), single_shipment(batch).losses) == (False, 0)


@pytest.mark.parametrize(
    "feedback", [{}, {"api": "api", "signal": "good", "purpose": "read", "entry": {"action": "read"}}]
)
async def test_a_read_back_clears_no_losses(harness: Harness, feedback: dict[str, Any]) -> None:
    """A shipment that kills in a call is always read back before the next call, so this must not count."""
    await claim_isolated(harness)
    (batch,) = await claim_after_losses(harness)
    await harness.report(batch, "park", **feedback)
    (again,) = await harness.claim_all()
    assert (is_isolated(again), single_shipment(again).losses) == (True, 1)


async def test_a_fallback_is_isolated_too(harness: Harness) -> None:
    """A chain link releases a shipment that must be isolated."""
    claim = await claim_isolated(harness)
    refused = claim.shipments[0].with_progress(step=1)
    await harness.report_of(
        [refused], claim.lease_token, "hand", api="api", signal="good", purpose="read", entry={"action": "read"}
    )
    link = Link(claims=(LinkClaim(token=claim.lease_token, merchant="acme", step=1, references=("a",)),))
    assert await harness.ledger.claim_link(link) == ()
    (batch,) = await harness.claim_all()
    held = single_shipment(batch)
    assert (is_isolated(batch), held.progress.step) == (True, 1)
