"""Shipments whose workers are lost."""

from tasks.rules.shipment import Shipment
from tasks.work.ports import Claim
from tests.factories.ledger_harness import Harness, is_isolated


async def claim_after_losses(harness: Harness, merchant: str = "acme") -> list[Claim]:
    """The claims after the merchant's leases expired and another lease time passed."""
    await harness.expire_leases(merchant)
    found = await harness.claim_all()
    if await harness.raw.zcard(f"allocation:schedule:{merchant}"):
        await advance_one_lease(harness, merchant)
        found += await harness.claim_all()
    return found


async def advance_one_lease(harness: Harness, merchant: str = "acme") -> None:
    """Shift all times of a merchant by one lease into the past."""
    lease_ms = round(harness.settings.lease_seconds * 1000) + 1
    for key in await harness.raw.keys("allocation:host_losses:*"):
        for name, at in await harness.raw.zrange(key, 0, -1, withscores=True):
            await harness.raw.zadd(key, {name: at - lease_ms})
    for reference in await harness.raw.zrange(f"allocation:schedule:{merchant}", 0, -1):
        key = f"allocation:shipment:{merchant}:{reference.decode()}"
        if await harness.raw.hexists(key, "lost_at"):
            await harness.raw.hincrby(key, "lost_at", -lease_ms)
    await harness.make_due(merchant)


async def claim_isolated(harness: Harness, reference: str = "a", merchant: str = "acme") -> Claim:
    """A shipment that was lost twice among others, and is now claimed isolated."""
    await harness.claim(merchant, reference)
    for _ in range(2):
        await harness.expire_leases(merchant)
        (claim,) = await harness.claim_all()
    assert is_isolated(claim)
    return claim


def single_shipment(claim: Claim) -> Shipment:
    """The only claimed shipment."""
    (held,) = claim.shipments
    return held
