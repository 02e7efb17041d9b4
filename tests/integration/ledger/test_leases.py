"""What happens to shipments whose worker falls silent."""

import pytest

from tests.factories.ledger_harness import Bench, references


async def test_a_lease_that_runs_out_comes_back(bench: Bench) -> None:
    """What is held comes back when its lease is over, and not before."""
    await bench.take("acme", "a", "b")
    await bench.look_at("acme")
    assert await bench.take_all() == []
    await bench.end_leases("acme")
    assert [sorted(references(batch)) for batch in await bench.take_all()] == [["a", "b"]]


async def test_the_next_look_is_at_the_end_of_the_lease(bench: Bench) -> None:
    """A merchant whose shipments are all held is looked at again when the first lease ends."""
    await bench.take("acme", "a")
    lease_end = await bench.raw.zscore("allocation:working:acme", "a")
    assert await bench.raw.zscore("allocation:merchants", "acme") <= lease_end


async def test_who_was_brought_back_and_waits(bench: Bench) -> None:
    """A task loses its shipment when the lease is over, even if there is no room yet to hand it to another."""
    await bench.ledger.set_limits("acme", 1, 0)
    late = await bench.take("acme", "a")
    await bench.accept("acme", "b")
    await bench.next_millisecond()
    await bench.end_leases("acme")
    assert [references(batch) for batch in await bench.take_all()] == [["b"]]
    before = await bench.schedule("acme")
    assert not (await bench.permit(late.shipments[0], late.lease_token)).owned
    assert await bench.report(late, "allocated", event="{}") == [False]
    assert await bench.schedule("acme") == before
    assert await bench.raw.xlen(bench.settings.allocated_stream) == 0


@pytest.mark.parametrize("purpose", ["renew", "read", "allocate"])
async def test_whoever_asks_renews(bench: Bench, purpose: str) -> None:
    """Every question about a shipment renews its lease."""
    claim = await bench.take("acme", "a")
    await bench.end_leases("acme")
    assert (await bench.permit(claim.shipments[0], claim.lease_token, purpose=purpose)).owned
    assert await bench.take_all() == []


async def test_a_renewal_leaves_the_phase(bench: Bench) -> None:
    """A lease that is renewed during a call still says that a call may be on its way, and since when."""
    claim = await bench.take("acme", "a")
    await bench.permit(claim.shipments[0], claim.lease_token)
    token = await bench.field("tokens:acme", "a")
    await bench.end_leases("acme")
    await bench.ledger.renew([(claim.shipments[0], claim.lease_token)])
    assert await bench.field("tokens:acme", "a") == token
    assert token.startswith("c:")
    assert await bench.take_all() == []
