"""After a change of the server a call may be open that nobody remembers; who may have been called for is in doubt."""

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
    """Take everything of a merchant that is due."""
    (batch,) = [batch for batch in await harness.claim_all() if batch.merchant == merchant]
    return batch


async def taken_again(harness: Harness) -> Shipment:
    """The one shipment in another task's hands, once its lease is over."""
    await harness.expire_leases("acme")
    (held,) = (await claim_due(harness)).shipments
    return held


def in_doubt(held: Shipment) -> bool:
    """Whether a call that nobody remembers may be open."""
    return held.progress.open_kind == "unknown"


async def changed_at(harness: Harness) -> float:
    """When the last change was noted, in seconds since the epoch."""
    return int(await harness.field("server", "epoch_since")) / 1000


async def accept_entered(harness: Harness, earliest_at: float, reference: str = "a") -> None:
    """Take in an order that came into being then."""
    (accepted,) = new("acme", reference)
    await harness.ledger.accept([accepted._replace(earliest_at=earliest_at)], [], [], GROUP)


async def test_who_was_owned_is_in_doubt(harness: Harness) -> None:
    """A shipment in somebody's hands at the change has an open call that ended with it."""
    await harness.claim("acme", "a")
    await harness.simulate_server_change()
    held = await taken_again(harness)
    assert in_doubt(held)
    assert held.progress.open_at == held.progress.quiet_from == await changed_at(harness)


@pytest.mark.parametrize("wait_s", [0, 3600])
async def test_who_was_owned_is_so_whatever_was_reported(harness: Harness, wait_s: float) -> None:
    """Who was parked after the change by the task that had it before is in doubt, however long it waits."""
    claim = await harness.claim("acme", "a")
    await harness.simulate_server_change()
    await harness.report(claim, "park", due=harness.ledger.now() + wait_s)
    await harness.make_due("acme")
    assert in_doubt((await claim_due(harness)).shipments[0])


async def test_who_was_due_is_in_doubt(harness: Harness) -> None:
    """A shipment that waited and was due at the change may have been taken and called for, and all of it forgotten."""
    await harness.report(await harness.claim("acme", "a"), "park")
    await harness.simulate_server_change()
    assert in_doubt((await claim_due(harness)).shipments[0])


async def test_who_was_new_is_in_doubt(harness: Harness) -> None:
    """So may one that was accepted and, as far as is known, never handed out."""
    await harness.accept("acme", "a")
    await harness.simulate_server_change()
    assert in_doubt((await claim_due(harness)).shipments[0])


async def test_who_was_new_by_a_clock_ahead_is_in_doubt(harness: Harness) -> None:
    """Who was accepted before the change is so, whatever its order says of the time."""
    await accept_entered(harness, harness.ledger.now() + 86400)
    await harness.simulate_server_change()
    assert in_doubt((await claim_due(harness)).shipments[0])


async def test_who_was_parked_for_later_is_not(harness: Harness) -> None:
    """Nobody could have called for a shipment that was parked for a time after the change."""
    await harness.report(await harness.claim("acme", "a"), "park", due=harness.ledger.now() + 60)
    await harness.simulate_server_change()
    await harness.make_due("acme")
    assert not in_doubt((await claim_due(harness)).shipments[0])


async def test_a_doubt_ends_with_a_report(harness: Harness) -> None:
    """Once the doubt is part of its progress, a shipment is in no other one for the same change."""
    await harness.report(await harness.claim("acme", "a"), "park")
    await harness.simulate_server_change()
    claim = await claim_due(harness)
    settled = claim.shipments[0].with_progress(open_kind=None, open_at=0.0)
    await harness.report_of([settled], claim.lease_token, "keep")
    assert not in_doubt(await taken_again(harness))


async def test_a_doubt_lasts_until_a_report(harness: Harness) -> None:
    """A task that was lost without a report leaves it in doubt since the same time."""
    await harness.accept("acme", "a")
    await harness.simulate_server_change()
    first = (await claim_due(harness)).shipments[0]
    again = await taken_again(harness)
    assert (in_doubt(again), again.progress.open_at) == (True, first.progress.open_at)


async def test_each_change_is_a_doubt_of_its_own(harness: Harness) -> None:
    """Who was read back after one change, and was due at the next, is in doubt again."""
    await harness.accept("acme", "a")
    for _ in range(2):
        await harness.simulate_server_change()
        claim = await claim_due(harness)
        assert in_doubt(claim.shipments[0])
        await harness.report_of(
            [claim.shipments[0].with_progress(open_kind=None, open_at=0.0)], claim.lease_token, "park"
        )


@pytest.mark.parametrize(("age_s", "doubt"), [(3600, True), (0, True), (-10, True), (None, False)])
async def test_orders_that_may_be_sent_again(harness: Harness, age_s: float | None, doubt: bool) -> None:  # noqa: FBT001
    """An order from before the change, or from soon after it, may be one that is sent again; a later one is not."""
    await harness.claim("other", "x")
    await harness.simulate_server_change()
    changed = await changed_at(harness)
    window_s = REPUBLISHED_S + harness.settings.lease_seconds
    await accept_entered(harness, changed - age_s if age_s is not None else changed + window_s)
    assert in_doubt((await claim_due(harness)).shipments[0]) == doubt


async def test_an_order_that_is_accepted_much_later(harness: Harness) -> None:
    """An entry that lay in the stream since before the change is in doubt a day later too."""
    await harness.claim("other", "x")
    await harness.simulate_server_change()
    day_before = (await server_ms(harness.redis)) - 86_400_000
    await harness.raw.hset(SERVER, mapping={"epoch_since": day_before, "due_before": day_before})
    await accept_entered(harness, day_before / 1000 - 5)
    held = (await claim_due(harness)).shipments[0]
    assert (in_doubt(held), held.progress.open_at) == (True, day_before / 1000)


async def put_forward(harness: Harness, how: str) -> None:
    """Let a parked shipment go on before its time."""
    if how == "resume":
        assert await harness.ledger.resume("acme") == 1
    else:
        await harness.pause("acme")
        await harness.make_probe_due("acme")
        assert await harness.ledger.probe("acme") == "a"


@pytest.mark.parametrize("how", ["resume", "probe"])
async def test_who_was_put_forward(harness: Harness, how: str) -> None:
    """A shipment that is put forward may have been so before the change, and called for: it is in doubt."""
    await harness.report(await harness.claim("acme", "a"), "park", due=harness.ledger.now() + 600)
    await harness.simulate_server_change()
    await put_forward(harness, how)
    assert in_doubt((await claim_due(harness)).shipments[0])


async def test_who_is_put_back(harness: Harness) -> None:
    """A failed shipment that is put back may have been so before the change, and called for: it is in doubt."""
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
async def test_who_is_put_forward_long_after_it(harness: Harness, how: str) -> None:
    """A shipment that was reported since the last change is in no doubt for being put forward."""
    await harness.simulate_server_change()
    claim = await harness.claim("acme", "a")
    await harness.report_of(
        [claim.shipments[0].with_progress(open_kind=None, open_at=0.0)], claim.lease_token, "park", due=4e9
    )
    await put_forward(harness, how)
    assert not in_doubt((await claim_due(harness)).shipments[0])


async def test_a_clock_that_is_behind_the_one_before(harness: Harness) -> None:
    """How often the server has changed tells what was before, whatever the clock of the other server said."""
    claim = await harness.claim("acme", "a", "b")
    await harness.report(claim, "keep")
    await harness.simulate_server_change()
    behind = await server_ms(harness.redis) - 10_000
    await harness.raw.hset(SERVER, mapping={"epoch_since": behind, "due_before": behind + 1000})
    assert not (await harness.permit(claim.shipments[0], claim.lease_token)).owned
    await harness.expire_leases("acme")
    assert [in_doubt(held) for held in (await claim_due(harness)).shipments] == [True, True]
