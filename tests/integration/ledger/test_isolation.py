"""After two losses in company a shipment is taken alone, until a call of it comes back."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from config.settings import Settings
from tasks.work.messages import Link, LinkClaim
from tests.factories.ledger_harness import Bench, is_alone, references
from tests.factories.lost import lost, only, take_alone
from worker.ledger.ledger import HOST


@pytest.fixture
def bench(settings: Settings, runner: asyncio.Runner) -> Iterator[Bench]:
    """An empty ledger of a worker with many children."""
    bench = Bench(settings.model_copy(update={"concurrency": 40}))
    yield bench
    runner.run(bench.close())


async def test_an_id_says_whose_it_is(bench: Bench) -> None:
    """A task's id begins with its host; it ends with a letter when its child owns nothing else."""
    together = await bench.take("acme", "a", "b")
    alone = await take_alone(bench, merchant="other")
    assert together.lease_token.startswith(f"{HOST}.")
    assert (together.lease_token.endswith(".a"), alone.lease_token.endswith(".a")) == (False, True)


@pytest.mark.parametrize("purpose", ["read", "allocate"])
async def test_losses_in_company_lead_to_isolation(bench: Bench, purpose: str) -> None:
    """After two of them a shipment is handed out in a message of its own; they count as no loss of its."""
    claim = await bench.take("acme", "a", "b")
    for alone in (False, True):
        for held in claim.shipments:
            await bench.permit(held, claim.lease_token, purpose=purpose)
        batches = await lost(bench)
        assert [is_alone(batch) for batch in batches] == ([True, True] if alone else [False])
        claim = batches[0]
        assert {held.losses for held in claim.shipments} == {0}
    assert sorted(references(batch) for batch in batches) == [["a"], ["b"]]


async def test_the_others_go_on_together(bench: Bench) -> None:
    """Those who were never lost do not suffer from those who were."""
    await bench.take("acme", "bad1", "bad2")
    await lost(bench)
    await bench.accept("acme", "good1", "good2")
    found = await lost(bench)
    assert sorted((is_alone(batch), sorted(references(batch))) for batch in found) == [
        (False, ["good1", "good2"]),
        (True, ["bad1"]),
        (True, ["bad2"]),
    ]


async def test_who_waited_longest_is_served_first(bench: Bench) -> None:
    """With room for one message a shipment that goes alone neither waits for ever nor holds up who came before it."""
    await bench.take("acme", "bad1", "bad2")
    await lost(bench)
    await bench.end_leases("acme")
    (first,) = await bench.take_due()
    await bench.next_millisecond()
    await bench.accept("acme", "good")
    (second,), (third,) = await bench.take_due(), await bench.take_due()
    assert [references(batch) for batch in (first, second, third)] == [["bad1"], ["bad2"], ["good"]]


async def test_who_came_before_is_not_held_up(bench: Bench) -> None:
    """A shipment that goes alone does not stand before those who have waited for longer."""
    await bench.take("acme", "bad")
    await lost(bench)
    await bench.accept("acme", "good1", "good2")
    await bench.next_millisecond()
    await bench.end_leases("acme")
    first, second = [*await bench.take_due(), *await bench.take_due()]
    assert [sorted(references(batch)) for batch in (first, second)] == [["good1", "good2"], ["bad"]]


async def all_lost(bench: Bench, count: int) -> None:
    """Shipments that are due, and each of which is to go alone."""
    await bench.take("acme", *(f"bad{n}" for n in range(count)))
    await lost(bench)
    await bench.end_leases("acme")


async def test_a_part_of_the_children_at_the_most(bench: Bench) -> None:
    """However many are to go alone, most children are left to all others; those who may not yet wait for their turn."""
    await all_lost(bench, 15)
    await bench.accept("acme", "good")
    first = await bench.take_all()
    assert [is_alone(batch) for batch in first].count(True) == 10
    assert [references(batch) for batch in first if not is_alone(batch)] == [["good"]]
    settled, given_up, *_ = (batch for batch in first if is_alone(batch))
    await bench.settle([settled])
    assert [is_alone(batch) for batch in await bench.take_all()] == [True]
    await bench.report(given_up, "park", due=4e9)
    assert [is_alone(batch) for batch in await bench.take_all()] == [True]


async def test_who_is_lost_alone_makes_room(bench: Bench) -> None:
    """A child that is lost with its one shipment is not waited for."""
    await all_lost(bench, 11)
    first = await bench.take_all()
    await bench.end_leases("acme")
    (last,) = await bench.take_all()
    assert references(last) not in [references(batch) for batch in first]


async def test_a_merchants_turn_is_one_shipment(bench: Bench) -> None:
    """Many shipments that go alone leave their turn to other merchants."""
    await bench.take("acme", *(f"bad{n}" for n in range(5)))
    await lost(bench)
    await bench.end_leases("acme")
    await bench.accept("other", "x")
    assert [claim.merchant for _ in range(2) for claim in await bench.take_due()][:2] == ["acme", "other"]


@pytest.mark.parametrize("verdict", ["hand", "park"])
async def test_a_call_that_came_back_forgives_losses(bench: Bench, verdict: Any) -> None:
    """Whose call was answered did not kill; it goes in company again."""
    claim = await take_alone(bench)
    await bench.report(claim, verdict, api="api", answer="bad", purpose="allocate", entry={"do": "allocate"})
    if verdict == "hand":
        await bench.end_leases("acme")
    (batch,) = await bench.take_all()
    assert (is_alone(batch), only(batch).losses) == (False, 0)


@pytest.mark.parametrize("told", [{}, {"api": "api", "answer": "good", "purpose": "read", "entry": {"do": "read"}}])
async def test_a_read_back_forgives_nothing(bench: Bench, told: dict[str, Any]) -> None:
    """What kills in a call is always read back before the next one: else it would kill for ever."""
    await take_alone(bench)
    (batch,) = await lost(bench)
    await bench.report(batch, "park", **told)
    (again,) = await bench.take_all()
    assert (is_alone(again), only(again).losses) == (True, 1)


async def test_a_fallback_goes_alone_too(bench: Bench) -> None:
    """A link of a chain leaves a shipment that needs a child of its own to the hand-out."""
    claim = await take_alone(bench)
    refused = claim.shipments[0].with_progress(step=1)
    await bench.report_of(
        [refused], claim.lease_token, "hand", api="api", answer="good", purpose="read", entry={"do": "read"}
    )
    link = Link(held=(LinkClaim(token=claim.lease_token, merchant="acme", step=1, references=("a",)),))
    assert await bench.ledger.claim_link(link) == ()
    (batch,) = await bench.take_all()
    held = only(batch)
    assert (is_alone(batch), held.progress.step) == (True, 1)
