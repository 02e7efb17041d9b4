"""Who may work on a shipment: only the task whose token the ledger knows."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from config.settings import Settings
from tasks.chains import handover
from tests.worker.bench import Bench


async def test_a_message_is_taken_once(bench: Bench) -> None:
    """The same message a second time gets nothing."""
    await bench.accept("acme", "a", "b")
    (batch,) = await bench.ledger.claim(1)
    first, second = await bench.ledger.take(batch), await bench.ledger.take(batch)
    assert sorted(held.reference for held in first.shipments) == ["a", "b"]
    assert second.shipments == ()


async def test_what_goes_into_a_messages_place(bench: Bench) -> None:
    """Taking a message claims as many other batches as are asked for, and these can be taken like any."""
    for merchant in ("acme", "other", "third"):
        await bench.accept(merchant, "a")
    (batch,) = await bench.ledger.claim(1)
    assert (await bench.ledger.take(batch)).claimed == ()
    (again,) = await bench.ledger.claim(1)
    taken = await bench.ledger.take(again, claim=1)
    (claimed,) = taken.claimed
    assert {batch.merchant, again.merchant, claimed.merchant} == {"acme", "other", "third"}
    assert [held.reference for held in (await bench.ledger.take(claimed, claim=1)).shipments] == ["a"]
    assert await bench.claim_all() == []


async def test_an_answer_that_was_lost(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the answer to a take is lost, asking again brings the shipments, and claims nothing a second time."""
    for merchant in ("acme", "other", "third"):
        await bench.accept(merchant, "a")
    (batch,) = await bench.ledger.claim(1)
    run, lost = bench.store.run, [ConnectionResetError("the answer is lost")]

    async def loses_one(*asked: Any) -> Any:
        answer = await run(*asked)
        if lost:
            raise lost.pop()
        return answer

    monkeypatch.setattr(bench.store, "run", loses_one)
    taken = await bench.ledger.take(batch, claim=1)
    assert ([held.reference for held in taken.shipments], taken.claimed) == (["a"], ())
    assert len(await bench.claim_all()) == 1


async def test_copies_of_a_message_race(settings: Settings, bench: Bench) -> None:
    """Of many copies of a message taken at once, each shipment goes to one."""
    await bench.accept("acme", *(f"sp_{n}" for n in range(50)))
    (batch,) = await bench.ledger.claim(1)
    others = [Bench(settings) for _ in range(8)]
    taken = await asyncio.gather(*(other.ledger.take(batch) for other in others))
    await asyncio.gather(*(other.close() for other in others))
    assert sorted(len(one.shipments) for one in taken) == [0] * 7 + [50]


async def test_a_stale_message_gets_nothing(bench: Bench) -> None:
    """A message whose lease ran out and was handed out again gets nothing; the new one does."""
    await bench.accept("acme", "a")
    (stale,) = await bench.ledger.claim(1)
    await bench.end_leases("acme")
    (fresh,) = await bench.ledger.claim(1)
    assert (await bench.ledger.take(stale)).shipments == ()
    assert len((await bench.ledger.take(fresh)).shipments) == 1


async def test_an_invented_token_gets_nothing(bench: Bench) -> None:
    """Shipments go to nobody whose token the ledger did not make, nor to one that names other shipments."""
    await bench.accept("acme", "a")
    (batch,) = await bench.ledger.claim(1)
    assert (await bench.ledger.take(replace(batch, token="invented"))).shipments == ()
    assert (await bench.ledger.take(replace(batch, references=("unheard_of",)))).shipments == ()


async def test_a_link_takes_only_its_own_step(bench: Bench) -> None:
    """A link of a chain gets the shipments that were handed on at its step, and a copy of it gets nothing."""
    taken = await bench.take("acme", "a")
    second = taken.shipments[0].with_progress(step=1)
    await bench.report_of([second], taken.task, "hand")
    link = handover([second], taken.task)
    assert (await bench.ledger.take(replace(link, step=2))).shipments == ()
    (held,) = (await bench.ledger.take(link)).shipments
    assert str(held.strategy) == "carrier_service SECOND"
    assert (await bench.ledger.take(link)).shipments == ()


async def test_a_chain_goes_on_to_its_end(bench: Bench) -> None:
    """Each link is handed what the one before was refused, until the last step."""
    taken = await bench.take("acme", "a")
    steps = [str(taken.shipments[0].strategy)]
    while taken.shipments[0].has_fallback:
        refused = taken.shipments[0].with_progress(step=taken.shipments[0].progress.step + 1)
        await bench.report_of([refused], taken.task, "hand")
        taken = await bench.ledger.take(handover([refused], taken.task))
        steps.append(str(taken.shipments[0].strategy))
    assert steps == ["virtual_service FIRST", "carrier_service SECOND", "service_group THIRD"]


async def test_a_link_that_never_ran(bench: Bench) -> None:
    """When a chain is lost, the sweep brings its shipments back at the step where they stand."""
    taken = await bench.take("acme", "a")
    await bench.report_of([taken.shipments[0].with_progress(step=2)], taken.task, "hand")
    await bench.end_leases("acme")
    (batch,) = await bench.claim_all()
    (held,) = (await bench.ledger.take(batch)).shipments
    assert (held.progress.step, held.losses, held.progress.open_kind) == (2, 0, None)


async def test_who_lost_the_lease_may_not_call(bench: Bench) -> None:
    """A task whose shipment was handed out again is told so before its call, and does not disturb the new holder."""
    late = await bench.take("acme", "a")
    await bench.end_leases("acme")
    (batch,) = await bench.claim_all()
    before = await bench.schedule("acme")
    assert not (await bench.permit(late.shipments[0], late.task)).held
    assert await bench.schedule("acme") == before
    assert len((await bench.ledger.take(batch)).shipments) == 1


async def test_what_is_fixed_at_intake_comes_out(bench: Bench) -> None:
    """A task gets order, event, rule and plan as they were fixed when the shipment came in."""
    taken = await bench.take("acme", "a")
    (held,) = taken.shipments
    assert (held.merchant, held.reference, held.order, held.order_event) == ("acme", "a", "order-a", "evt-a")
    assert (held.api, held.rule, len(held.steps)) == ("shipments-v2", "default", 3)
    assert held.received == held.published
    assert abs(held.received - bench.ledger.now()) < 5
