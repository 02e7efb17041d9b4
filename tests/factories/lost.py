"""Shipments that lose their workers."""

from tasks.rules.shipment import Shipment
from tasks.work.ports import Claim
from tests.factories.ledger_harness import Bench, is_alone


async def lost(bench: Bench, merchant: str = "acme") -> list[Claim]:
    """What is taken after the merchant's leases ran out, and a lease more has passed."""
    await bench.end_leases(merchant)
    found = await bench.take_all()
    if await bench.raw.zcard(f"allocation:waiting:{merchant}"):
        await a_lease_passes(bench, merchant)
        found += await bench.take_all()
    return found


async def a_lease_passes(bench: Bench, merchant: str = "acme") -> None:
    """Let everything of a merchant have happened a lease earlier."""
    lease_ms = round(bench.settings.lease_seconds * 1000) + 1
    for key in await bench.raw.keys("allocation:lost:*"):
        for name, at in await bench.raw.zrange(key, 0, -1, withscores=True):
            await bench.raw.zadd(key, {name: at - lease_ms})
    for reference in await bench.raw.zrange(f"allocation:waiting:{merchant}", 0, -1):
        key = f"allocation:shipment:{merchant}:{reference.decode()}"
        if await bench.raw.hexists(key, "lost_at"):
            await bench.raw.hincrby(key, "lost_at", -lease_ms)
    await bench.end_waits(merchant)


async def take_alone(bench: Bench, reference: str = "a", merchant: str = "acme") -> Claim:
    """A shipment that was lost twice in company, alone in a child's hands."""
    await bench.take(merchant, reference)
    for _ in range(2):
        await bench.end_leases(merchant)
        (claim,) = await bench.take_all()
    assert is_alone(claim)
    return claim


def only(claim: Claim) -> Shipment:
    """The one shipment that was taken."""
    (held,) = claim.shipments
    return held
