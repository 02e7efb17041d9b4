"""After two losses in company a shipment is taken alone, until a call of it comes back."""

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


async def test_an_id_says_whose_it_is(harness: Harness) -> None:
    """A task's id begins with its host; it ends with a letter when its child owns nothing else."""
    together = await harness.claim("acme", "a", "b")
    alone = await claim_isolated(harness, merchant="other")
    assert together.lease_token.startswith(f"{HOST}.")
    assert (together.lease_token.endswith(".a"), alone.lease_token.endswith(".a")) == (False, True)


@pytest.mark.parametrize("purpose", ["read", "allocate"])
async def test_losses_in_company_lead_to_isolation(harness: Harness, purpose: str) -> None:
    """After two of them a shipment is handed out in a message of its own; they count as no loss of its."""
    claim = await harness.claim("acme", "a", "b")
    for alone in (False, True):
        for held in claim.shipments:
            await harness.permit(held, claim.lease_token, purpose=purpose)
        batches = await claim_after_losses(harness)
        assert [is_isolated(batch) for batch in batches] == ([True, True] if alone else [False])
        claim = batches[0]
        assert {held.losses for held in claim.shipments} == {0}
    assert sorted(references(batch) for batch in batches) == [["a"], ["b"]]


async def test_the_others_go_on_together(harness: Harness) -> None:
    """Those who were never lost do not suffer from those who were."""
    await harness.claim("acme", "bad1", "bad2")
    await claim_after_losses(harness)
    await harness.accept("acme", "good1", "good2")
    found = await claim_after_losses(harness)
    assert sorted((is_isolated(batch), sorted(references(batch))) for batch in found) == [
        (False, ["good1", "good2"]),
        (True, ["bad1"]),
        (True, ["bad2"]),
    ]


async def test_who_waited_longest_is_served_first(harness: Harness) -> None:
    """With room for one message a shipment that goes alone neither waits for ever nor holds up who came before it."""
    await harness.claim("acme", "bad1", "bad2")
    await claim_after_losses(harness)
    await harness.expire_leases("acme")
    (first,) = await harness.claim_due()
    await harness.next_millisecond()
    await harness.accept("acme", "good")
    (second,), (third,) = await harness.claim_due(), await harness.claim_due()
    assert [references(batch) for batch in (first, second, third)] == [["bad1"], ["bad2"], ["good"]]


async def test_who_came_before_is_not_held_up(harness: Harness) -> None:
    """A shipment that goes alone does not stand before those who have waited for longer."""
    await harness.claim("acme", "bad")
    await claim_after_losses(harness)
    await harness.accept("acme", "good1", "good2")
    await harness.next_millisecond()
    await harness.expire_leases("acme")
    first, second = [*await harness.claim_due(), *await harness.claim_due()]
    assert [sorted(references(batch)) for batch in (first, second)] == [["good1", "good2"], ["bad"]]


async def all_lost(harness: Harness, count: int) -> None:
    """Shipments that are due, and each of which is to go alone."""
    await harness.claim("acme", *(f"bad{n}" for n in range(count)))
    await claim_after_losses(harness)
    await harness.expire_leases("acme")


async def test_a_part_of_the_children_at_the_most(harness: Harness) -> None:
    """However many are to go alone, most children are left to all others; those who may not yet wait for their turn."""
    await all_lost(harness, 15)
    await harness.accept("acme", "good")
    first = await harness.claim_all()
    assert [is_isolated(batch) for batch in first].count(True) == 10
    assert [references(batch) for batch in first if not is_isolated(batch)] == [["good"]]
    settled, given_up, *_ = (batch for batch in first if is_isolated(batch))
    await harness.settle([settled])
    assert [is_isolated(batch) for batch in await harness.claim_all()] == [True]
    await harness.report(given_up, "park", due=4e9)
    assert [is_isolated(batch) for batch in await harness.claim_all()] == [True]


async def test_who_is_lost_alone_makes_room(harness: Harness) -> None:
    """A child that is lost with its one shipment is not waited for."""
    await all_lost(harness, 11)
    first = await harness.claim_all()
    await harness.expire_leases("acme")
    (last,) = await harness.claim_all()
    assert references(last) not in [references(batch) for batch in first]


async def test_a_merchants_turn_is_one_shipment(harness: Harness) -> None:
    """Many shipments that go alone leave their turn to other merchants."""
    await harness.claim("acme", *(f"bad{n}" for n in range(5)))
    await claim_after_losses(harness)
    await harness.expire_leases("acme")
    await harness.accept("other", "x")
    assert [claim.merchant for _ in range(2) for claim in await harness.claim_due()][:2] == ["acme", "other"]


@pytest.mark.parametrize("verdict", ["hand", "park"])
async def test_a_call_that_came_back_forgives_losses(harness: Harness, verdict: Any) -> None:
    """Whose call was answered did not kill; it goes in company again."""
    claim = await claim_isolated(harness)
    await harness.report(claim, verdict, api="api", signal="bad", purpose="allocate", entry={"action": "allocate"})
    if verdict == "hand":
        await harness.expire_leases("acme")
    (batch,) = await harness.claim_all()
    assert (is_isolated(batch), single_shipment(batch).losses) == (False, 0)


@pytest.mark.parametrize("told", [{}, {"api": "api", "signal": "good", "purpose": "read", "entry": {"action": "read"}}])
async def test_a_read_back_forgives_nothing(harness: Harness, told: dict[str, Any]) -> None:
    """What kills in a call is always read back before the next one: else it would kill for ever."""
    await claim_isolated(harness)
    (batch,) = await claim_after_losses(harness)
    await harness.report(batch, "park", **told)
    (again,) = await harness.claim_all()
    assert (is_isolated(again), single_shipment(again).losses) == (True, 1)


async def test_a_fallback_goes_alone_too(harness: Harness) -> None:
    """A link of a chain leaves a shipment that needs a child of its own to the hand-out."""
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
