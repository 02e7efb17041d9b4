"""Leases of workers that stop responding."""

import pytest

from tests.factories.ledger_harness import Harness, references


async def test_an_expired_lease_is_reclaimed(harness: Harness) -> None:
    """An owned shipment is reclaimed when its lease expires, and not before."""
    await harness.claim("acme", "a", "b")
    await harness.make_merchant_due("acme")
    assert await harness.claim_all() == []
    await harness.expire_leases("acme")
    assert [sorted(references(batch)) for batch in await harness.claim_all()] == [["a", "b"]]


async def test_the_next_turn_is_at_the_end_of_the_lease(harness: Harness) -> None:
    """A merchant whose shipments are all owned gets its next turn when the first lease ends."""
    await harness.claim("acme", "a")
    lease_end = await harness.raw.zscore("allocation:working:acme", "a")
    assert await harness.raw.zscore("allocation:merchant_queue", "acme") <= lease_end


async def test_a_reclaimed_shipment_that_waits(harness: Harness) -> None:
    """A task loses its shipment when the lease expires, even if it cannot be claimed again yet."""
    await harness.ledger.set_limits("acme", 1, 0)
    late = await harness.claim("acme", "a")
    await harness.accept("acme", "b")
    await harness.next_millisecond()
    await harness.expire_leases("acme")
    assert [references(batch) for batch in await harness.claim_all()] == [["b"]]
    before = await harness.schedule("acme")
    assert not (await harness.permit(late.shipments[0], late.lease_token)).owned
    assert await harness.report(late, "allocated", event="{}") == [False]
    assert await harness.schedule("acme") == before
    assert await harness.raw.xlen(harness.settings.allocated_stream) == 0


@pytest.mark.parametrize("purpose", ["read", "quote", "allocate"])
async def test_every_permit_request_renews(harness: Harness, purpose: str) -> None:
    """Every permit request for a shipment renews its lease."""
    claim = await harness.claim("acme", "a")
    await harness.expire_leases("acme")
    assert (await harness.permit(claim.shipments[0], claim.lease_token, purpose=purpose)).owned
    assert await harness.claim_all() == []


async def test_a_renewal_leaves_the_phase(harness: Harness) -> None:
    """A lease that is renewed during a call still records that a call may be in flight, and since when."""
    claim = await harness.claim("acme", "a")
    await harness.permit(claim.shipments[0], claim.lease_token)
    token = await harness.field("lease_tokens:acme", "a")
    await harness.expire_leases("acme")
    await harness.ledger.renew([(claim.shipments[0], claim.lease_token)])
    assert await harness.field("lease_tokens:acme", "a") == token
    assert token.startswith("c:")
    assert await harness.claim_all() == []
