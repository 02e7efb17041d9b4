"""What happens to shipments whose worker falls silent."""

import pytest

from tests.worker.bench import Bench


async def taken_again(bench: Bench) -> tuple[int, bool]:
    """After the leases ran out: how often the one shipment lost its worker, and whether it must be read back."""
    await bench.end_leases("acme")
    (batch,) = await bench.claim_all()
    (held,) = (await bench.ledger.take(batch)).shipments
    return held.losses, held.progress.doubt


async def test_a_lease_that_runs_out_comes_back(bench: Bench) -> None:
    """What is held comes back when its lease is over, and not before."""
    await bench.take("acme", "a", "b")
    await bench.look_at("acme")
    assert await bench.claim_all() == []
    await bench.end_leases("acme")
    assert [sorted(batch.references) for batch in await bench.claim_all()] == [["a", "b"]]


async def test_the_next_look_is_at_the_end_of_the_lease(bench: Bench) -> None:
    """A merchant whose shipments are all held is looked at again when the first lease ends."""
    await bench.take("acme", "a")
    lease_end = await bench.raw.zscore("allocation:working:acme", "a")
    assert await bench.raw.zscore("allocation:merchants", "acme") <= lease_end


async def test_a_message_that_was_lost_is_no_loss(bench: Bench) -> None:
    """A shipment that no task ever took has lost no worker."""
    await bench.accept("acme", "a")
    await bench.ledger.claim(1)
    assert await bench.phase("acme", "a") == "q"
    assert await taken_again(bench) == (0, False)


async def test_a_worker_lost_between_calls(bench: Bench) -> None:
    """A task that falls silent without a call counts as a loss, and leaves no doubt."""
    await bench.take("acme", "a")
    assert await bench.phase("acme", "a") == "r"
    assert await taken_again(bench) == (1, False)


async def test_a_worker_lost_during_a_call(bench: Bench) -> None:
    """A task that falls silent while a call may be on its way leaves a doubt, and the call counts as one unknown."""
    taken = await bench.take("acme", "a")
    await bench.permit(taken.shipments[0], taken.task)
    assert await bench.phase("acme", "a") == "c"
    assert await taken_again(bench) == (1, True)
    (batch,) = await bench.raw.hmget("allocation:shipment:acme:a", "doubt")
    assert batch == b"1"


async def test_a_doubt_stays_until_a_report(bench: Bench) -> None:
    """A doubt that nobody has cleared is still there after the next worker is lost as well."""
    taken = await bench.take("acme", "a")
    await bench.permit(taken.shipments[0], taken.task)
    await taken_again(bench)
    assert await taken_again(bench) == (2, True)


async def test_a_report_ends_a_doubt(bench: Bench) -> None:
    """Once somebody has read the shipment back and says so, the lost call is forgotten."""
    taken = await bench.take("acme", "a")
    await bench.permit(taken.shipments[0], taken.task)
    await bench.end_leases("acme")
    (batch,) = await bench.claim_all()
    again = await bench.ledger.take(batch)
    await bench.report_of([again.shipments[0].with_progress(doubt=False)], again.task, "keep")
    assert await taken_again(bench) == (2, False)


async def test_a_read_back_is_no_doubt(bench: Bench) -> None:
    """A worker lost while it reads leaves no doubt: reading changes nothing at the API."""
    taken = await bench.take("acme", "a")
    await bench.permit(taken.shipments[0], taken.task, purpose="read")
    assert await taken_again(bench) == (1, False)


async def test_a_call_that_was_reported_is_no_doubt(bench: Bench) -> None:
    """Once the answer to a call is written, a worker's loss leaves no doubt about it."""
    taken = await bench.take("acme", "a")
    await bench.permit(taken.shipments[0], taken.task)
    await bench.report(taken, "keep")
    assert await taken_again(bench) == (1, False)


async def test_who_was_brought_back_and_waits(bench: Bench) -> None:
    """A task loses its shipment when the lease is over, even if there is no room yet to hand it to another."""
    await bench.ledger.set_limits("acme", 1, 0)
    late = await bench.take("acme", "a")
    await bench.accept("acme", "b")
    await bench.next_millisecond()
    await bench.end_leases("acme")
    assert [batch.references for batch in await bench.claim_all()] == [("b",)]
    before = await bench.dump()
    assert not (await bench.permit(late.shipments[0], late.task)).held
    assert await bench.report(late, "allocated", event="{}") == [False]
    assert await bench.dump() == before


async def test_who_lost_two_workers_goes_alone(bench: Bench) -> None:
    """After two losses a shipment is handed out by itself, and the others go on together."""
    await bench.take("acme", "bad1", "bad2")
    await bench.end_leases("acme")
    (once_lost,) = await bench.claim_all()
    await bench.ledger.take(once_lost)
    await bench.end_leases("acme")
    await bench.accept("acme", "good1", "good2")
    assert sorted(sorted(batch.references) for batch in await bench.claim_all()) == [
        ["bad1"],
        ["bad2"],
        ["good1", "good2"],
    ]


@pytest.mark.parametrize(("entry", "losses"), [({"do": "allocate"}, 0), (None, 1)])
async def test_a_call_that_came_back_forgives_losses(bench: Bench, entry: dict[str, str] | None, losses: int) -> None:
    """Who is parked after a call counts its losses anew; who is parked without one keeps them."""
    await bench.take("acme", "a")
    await bench.end_leases("acme")
    (batch,) = await bench.claim_all()
    await bench.report(await bench.ledger.take(batch), "park", entry=entry)
    (again,) = await bench.claim_all()
    assert (await bench.ledger.take(again)).shipments[0].losses == losses


@pytest.mark.parametrize("purpose", ["renew", "read", "allocate"])
async def test_whoever_asks_renews(bench: Bench, purpose: str) -> None:
    """Every question about a shipment renews its lease."""
    taken = await bench.take("acme", "a")
    await bench.end_leases("acme")
    assert (await bench.permit(taken.shipments[0], taken.task, purpose=purpose)).held
    assert await bench.claim_all() == []


async def test_a_renewal_leaves_the_phase(bench: Bench) -> None:
    """A lease that is renewed during a call still says that a call may be on its way."""
    taken = await bench.take("acme", "a")
    await bench.permit(taken.shipments[0], taken.task)
    await bench.end_leases("acme")
    await bench.ledger.renew([(taken.shipments[0], taken.task)])
    assert await bench.phase("acme", "a") == "c"
    assert await bench.claim_all() == []
