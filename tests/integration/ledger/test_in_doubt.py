"""After a change of the server a forgotten call may be open; shipments that may have been called for are in doubt."""

import pytest

from tasks.rules.shipment import Shipment
from tasks.work.ports import Claim
from tests.factories.ledger_harness import Harness, new
from tests.factories.worker_child import FILE
from worker.ledger.ledger import REPUBLISHED_S
from worker.ledger.records import server_ms
from worker.ledger.replay import ReplayFilter, prepare, requeue_failed
from worker.streams.orders import GROUP

SERVER = "allocation:server"


async def claim_due(harness: Harness, merchant: str = "acme") -> Claim:
    """Claim every due shipment of a merchant."""
    (batch,) = [batch for batch in await harness.claim_all() if batch.merchant == merchant]
    return batch


async def claim_again(harness: Harness) -> Shipment:
    """The one shipment after its lease expired, claimed by another task."""
    await harness.expire_leases("acme")
    (held,) = (await claim_due(harness)).shipments
    return held


def in_doubt(held: Shipment) -> bool:
    """Whether a forgotten call may be open."""
    return held.progress.open_kind == "unknown"


async def changed_at(harness: Harness) -> float:
    """The time of the last recorded change, in seconds since the epoch."""
    return int(await harness.field("server", "epoch_since")) / 1000


async def accept_with_time(harness: Harness, earliest_at: float, reference: str = "a") -> None:
    """Accept an order with this earliest time."""
    (accepted,) = new("acme", reference)
    await harness.ledger.accept([accepted._replace(earliest_at=earliest_at)], [], [], GROUP)


async def test_an_owned_shipment_is_in_doubt(harness: Harness) -> None:
    """A shipment that was owned at the change has an open call that ended with it."""
    await harness.claim("acme", "a")
    await harness.simulate_server_change()
    held = await claim_again(harness)
    assert in_doubt(held)
    assert held.progress.open_at == held.progress.quiet_from == await changed_at(harness)


@pytest.mark.parametrize("wait_s", [0, 3600])
async def test_an_owned_shipment_is_in_doubt_after_a_report(harness: Harness, wait_s: float) -> None:
    """A shipment parked after the change by its earlier owner is in doubt, however long it waits."""
    claim = await harness.claim("acme", "a")
    await harness.simulate_server_change()
    await harness.report(claim, "park", due=harness.ledger.now() + wait_s)
    await harness.make_due("acme")
    assert in_doubt((await claim_due(harness)).shipments[0])


async def test_a_due_shipment_is_in_doubt(harness: Harness) -> None:
    """A shipment that was due at the change may have been claimed and called for, with all of it forgotten."""
    await harness.report(await harness.claim("acme", "a"), "park")
    await harness.simulate_server_change()
    assert in_doubt((await claim_due(harness)).shipments[0])


async def test_a_new_shipment_is_in_doubt(harness: Harness) -> None:
    """So may one that was accepted and, as far as recorded, never claimed."""
    await harness.accept("acme", "a")
    await harness.simulate_server_change()
    assert in_doubt((await claim_due(harness)).shipments[0])


async def test_a_new_shipment_with_a_fast_clock_is_in_doubt(harness: Harness) -> None:
    """A shipment accepted before the change is in doubt, whatever the time of its order."""
    await accept_with_time(harness, harness.ledger.now() + 86400)
    await harness.simulate_server_change()
    assert in_doubt((await claim_due(harness)).shipments[0])


async def test_a_shipment_parked_for_later_is_not(harness: Harness) -> None:
    """A shipment that was parked for a time after the change cannot have been called for."""
    await harness.report(await harness.claim("acme", "a"), "park", due=harness.ledger.now() + 60)
    await harness.simulate_server_change()
    await harness.make_due("acme")
    assert not in_doubt((await claim_due(harness)).shipments[0])


async def test_a_doubt_ends_with_a_report(harness: Harness) -> None:
    """Once the doubt is part of its progress, a shipment is not in doubt again for the same change."""
    await harness.report(await harness.claim("acme", "a"), "park")
    await harness.simulate_server_change()
    claim = await claim_due(harness)
    settled = claim.shipments[0].with_progress(open_kind=None, open_at=0.0)
    await harness.report_of([settled], claim.lease_token, "keep")
    assert not in_doubt(await claim_again(harness))


async def test_a_doubt_lasts_until_a_report(harness: Harness) -> None:
    """A task that was lost without a report leaves it in doubt since the same time."""
    await harness.accept("acme", "a")
    await harness.simulate_server_change()
    first = (await claim_due(harness)).shipments[0]
    again = await claim_again(harness)
    assert (in_doubt(again), again.progress.open_at) == (True, first.progress.open_at)


async def test_each_change_is_a_new_doubt(harness: Harness) -> None:
    """A shipment that was read back after one change, and was due at the next, is in doubt again."""
    await harness.accept("acme", "a")
    for _ in range(2):
        await harness.simulate_server_change()
        claim = await claim_due(harness)
        assert in_doubt(claim.shipments[0])
        await harness.report_of(
            [claim.shipments[0].with_progress(open_kind=None, open_at=0.0)], claim.lease_token, "park"
        )


@pytest.mark.parametrize(("age_s", "doubt"), [(3600, True), (0, True), (-10, True), (None, False)])
async def test_orders_that_may_be_repeated(harness: Harness, age_s: float | None, doubt: bool) -> None:  # noqa: FBT001
    """An order from before the change, or from soon after it, may be a repeated one; a later one is not."""
    await harness.claim("other", "x")
    await harness.simulate_server_change()
    changed = await changed_at(harness)
    window_s = REPUBLISHED_S + harness.settings.lease_seconds
    await accept_with_time(harness, changed - age_s if age_s is not None else changed + window_s)
    assert in_doubt((await claim_due(harness)).shipments[0]) == doubt


async def test_an_order_that_is_accepted_much_later(harness: Harness) -> None:
    """An entry that was in the stream since before the change is in doubt a day later too."""
    await harness.claim("other", "x")
    await harness.simulate_server_change()
    day_before = (await server_ms(harness.redis)) - 86_400_000
    await harness.raw.hset(SERVER, mapping={"epoch_since": day_before, "due_before": day_before})
    await accept_with_time(harness, day_before / 1000 - 5)
    held = (await claim_due(harness)).shipments[0]
    assert (in_doubt(held), held.progress.open_at) == (True, day_before / 1000)


async def reschedule(harness: Harness, how: str) -> None:
    """Make a parked shipment due before its time."""
    if how == "resume":
        assert await harness.ledger.resume("acme") == 1
    else:
        await harness.pause("acme")
        await harness.make_probe_due("acme")
        assert await harness.ledger.probe("acme") == "a"


@pytest.mark.parametrize("how", ["resume", "probe"])
async def test_a_rescheduled_shipment(harness: Harness, how: str) -> None:
    """A shipment that is made due early may have been so before the change, and called for: it is in doubt."""
    await harness.report(await harness.claim("acme", "a"), "park", due=harness.ledger.now() + 600)
    await harness.simulate_server_change()
    await reschedule(harness, how)
    assert in_doubt((await claim_due(harness)).shipments[0])


async def test_a_replayed_shipment(harness: Harness) -> None:
    """A replayed shipment may have been replayed before the change, and called for: it is in doubt."""
    (harness.settings.merchants_dir / "acme.toml").write_text(FILE.format(url="http://127.0.0.1:9", in_flight=0))
    await harness.report(await harness.claim("acme", "a"), "park", due=harness.ledger.now() + 3600)
    await harness.make_due("acme")
    await harness.report(await claim_due(harness), "failed", event="{}", reason="conflict")
    await harness.simulate_server_change()
    await requeue_failed(
        harness.store, await prepare(harness.redis, harness.settings, ReplayFilter(merchant="acme"), 50), 0
    )
    assert in_doubt((await claim_due(harness)).shipments[0])


@pytest.mark.parametrize("how", ["resume", "probe"])
async def test_a_shipment_rescheduled_long_after_it(harness: Harness, how: str) -> None:
    """A shipment with a report since the last change is not in doubt after it is made due early."""
    await harness.simulate_server_change()
    claim = await harness.claim("acme", "a")
    await harness.report_of(
        [claim.shipments[0].with_progress(open_kind=None, open_at=0.0)], claim.lease_token, "park", due=4e9
    )
    await reschedule(harness, how)
    assert not in_doubt((await claim_due(harness)).shipments[0])


async def test_a_clock_behind_the_previous_one(harness: Harness) -> None:
    """The epoch decides which came first, whatever the clock of the other server was."""
    claim = await harness.claim("acme", "a", "b")
    await harness.report(claim, "keep")
    await harness.simulate_server_change()
    behind = await server_ms(harness.redis) - 10_000
    await harness.raw.hset(SERVER, mapping={"epoch_since": behind, "due_before": behind + 1000})
    assert not (await harness.permit(claim.shipments[0], claim.lease_token)).owned
    await harness.expire_leases("acme")
    assert [in_doubt(held) for held in (await claim_due(harness)).shipments] == [True, True]
