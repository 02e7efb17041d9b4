"""What merchants did in the last hour, as the scripts count it."""

from tasks.rules.frozen import with_changes
from tests.factories.ledger_harness import Harness
from worker.ledger.records import server_ms
from worker.observability.activity import Activity, ActivityReader

A_MINUTE_MS = 60_000
ENTRIES = [
    {"action": "allocate", "strategy": {"virtual_service": "V"}, "outcome": outcome, "duration_ms": 5}
    for outcome in ("unknown", "allocated")
]


async def activity(harness: Harness, later_ms: int = 0) -> dict[str, Activity]:
    """The activity by merchant, as it is some time later."""
    return await ActivityReader(harness.redis).read(await server_ms(harness.redis) + later_ms)


async def test_nothing_yet(harness: Harness) -> None:
    """Merchants without activity are left out."""
    assert await activity(harness) == {}


async def test_orders_by_minute(harness: Harness) -> None:
    """New orders count in the present minute, which is the last one, and for an hour; known ones do not count."""
    for reference in ("sp_1", "sp_2", "sp_2"):
        await harness.accept("acme", reference)
    acme = (await activity(harness))["acme"]
    assert sum(acme.orders) == 2
    assert sum(acme.orders[-2:]) == 2
    assert sum((await activity(harness, 10 * A_MINUTE_MS))["acme"].orders[:-5]) == 2
    assert await activity(harness, 71 * A_MINUTE_MS) == {}


async def test_shares(harness: Harness) -> None:
    """Times and shares are of the allocated shipments, and of the calls."""
    claim = await harness.claim("acme", "sp_1", "sp_2", "sp_3", "sp_4")
    for one, settled_s, step in zip(claim.shipments, (1.0, 2.0, 3.0, 6.0), (0, 0, 0, 1), strict=True):
        called = with_changes(one, {"progress": with_changes(one.progress, {"attempted": step})})
        await harness.report_of(
            [called], claim.lease_token, "allocated", event="{}", settled_s=settled_s, entry=ENTRIES[step]
        )
    acme = (await activity(harness))["acme"]
    assert (acme.allocated, acme.mean_allocate_s) == (4, 3.0)
    assert (acme.fell_back_share, acme.unknown_share) == (0.25, 0.75)


async def test_the_keys_expire(harness: Harness) -> None:
    """Each is kept for the hour that it counts for, and a little longer."""
    claim = await harness.claim("acme", "sp_1")
    await harness.report(claim, "allocated", event="{}", settled_s=1.0)
    names = [*await harness.raw.keys("allocation:orders_by_minute:*"), *await harness.raw.keys("allocation:activity:*")]
    assert len(names) == 2
    assert [name for name in names if not 3600 < await harness.raw.ttl(name) <= 3600 + 1200] == []


async def test_past_periods_are_read_once(harness: Harness) -> None:
    """A reader keeps what cannot change any more, and reads the rest anew."""
    await harness.accept("acme", "sp_1")
    reader, now = ActivityReader(harness.redis), await server_ms(harness.redis)
    later = now + 30 * A_MINUTE_MS
    assert sum((await reader.read(later))["acme"].orders) == 1
    await harness.raw.delete(*await harness.raw.keys("allocation:orders_by_minute:*"))
    assert sum((await reader.read(later))["acme"].orders) == 1
    await harness.raw.hset(f"allocation:orders_by_minute:{later // A_MINUTE_MS}", "acme", 5)
    assert sum((await reader.read(later))["acme"].orders) == 6
