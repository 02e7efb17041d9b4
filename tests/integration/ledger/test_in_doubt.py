"""After a change of the server a call may be open that nobody remembers; who may have been called for is in doubt."""

import pytest

from tasks.rules.shipment import Shipment
from tasks.work.ports import Claim
from tests.factories.children import FILE
from tests.factories.ledger_harness import Bench, new
from worker.ledger.ledger import SENT_AGAIN_S
from worker.ledger.records import server_ms
from worker.ledger.replay import ReplayFilter, prepare, requeue_failed
from worker.streams.orders import GROUP

SERVER = "allocation:server"


async def take(bench: Bench, merchant: str = "acme") -> Claim:
    """Take everything of a merchant that is due."""
    (batch,) = [batch for batch in await bench.take_all() if batch.merchant == merchant]
    return batch


async def taken_again(bench: Bench) -> Shipment:
    """The one shipment in another task's hands, once its lease is over."""
    await bench.end_leases("acme")
    (held,) = (await take(bench)).shipments
    return held


def in_doubt(held: Shipment) -> bool:
    """Whether a call that nobody remembers may be open."""
    return held.progress.open_kind == "unknown"


async def changed_at(bench: Bench) -> float:
    """When the last change was noted, in seconds since the epoch."""
    return int(await bench.field("server", "changed")) / 1000


async def accept_entered(bench: Bench, entered: float, reference: str = "a") -> None:
    """Take in an order that came into being then."""
    (accepted,) = new("acme", reference)
    await bench.ledger.accept([accepted._replace(entered=entered)], [], [], GROUP)


async def test_who_was_owned_is_in_doubt(bench: Bench) -> None:
    """A shipment in somebody's hands at the change has an open call that ended with it."""
    await bench.take("acme", "a")
    await bench.become_another_server()
    held = await taken_again(bench)
    assert in_doubt(held)
    assert held.progress.open_at == held.progress.quiet_from == await changed_at(bench)


@pytest.mark.parametrize("wait_s", [0, 3600])
async def test_who_was_owned_is_so_whatever_was_reported(bench: Bench, wait_s: float) -> None:
    """Who was parked after the change by the task that had it before is in doubt, however long it waits."""
    claim = await bench.take("acme", "a")
    await bench.become_another_server()
    await bench.report(claim, "park", due=bench.ledger.now() + wait_s)
    await bench.end_waits("acme")
    assert in_doubt((await take(bench)).shipments[0])


async def test_who_was_due_is_in_doubt(bench: Bench) -> None:
    """A shipment that waited and was due at the change may have been taken and called for, and all of it forgotten."""
    await bench.report(await bench.take("acme", "a"), "park")
    await bench.become_another_server()
    assert in_doubt((await take(bench)).shipments[0])


async def test_who_was_new_is_in_doubt(bench: Bench) -> None:
    """So may one that was accepted and, as far as is known, never handed out."""
    await bench.accept("acme", "a")
    await bench.become_another_server()
    assert in_doubt((await take(bench)).shipments[0])


async def test_who_was_new_by_a_clock_ahead_is_in_doubt(bench: Bench) -> None:
    """Who was accepted before the change is so, whatever its order says of the time."""
    await accept_entered(bench, bench.ledger.now() + 86400)
    await bench.become_another_server()
    assert in_doubt((await take(bench)).shipments[0])


async def test_who_was_parked_for_later_is_not(bench: Bench) -> None:
    """Nobody could have called for a shipment that was parked for a time after the change."""
    await bench.report(await bench.take("acme", "a"), "park", due=bench.ledger.now() + 60)
    await bench.become_another_server()
    await bench.end_waits("acme")
    assert not in_doubt((await take(bench)).shipments[0])


async def test_a_doubt_ends_with_a_report(bench: Bench) -> None:
    """Once the doubt is part of its progress, a shipment is in no other one for the same change."""
    await bench.report(await bench.take("acme", "a"), "park")
    await bench.become_another_server()
    claim = await take(bench)
    settled = claim.shipments[0].with_progress(open_kind=None, open_at=0.0)
    await bench.report_of([settled], claim.lease_token, "keep")
    assert not in_doubt(await taken_again(bench))


async def test_a_doubt_lasts_until_a_report(bench: Bench) -> None:
    """A task that was lost without a report leaves it in doubt since the same time."""
    await bench.accept("acme", "a")
    await bench.become_another_server()
    first = (await take(bench)).shipments[0]
    again = await taken_again(bench)
    assert (in_doubt(again), again.progress.open_at) == (True, first.progress.open_at)


async def test_each_change_is_a_doubt_of_its_own(bench: Bench) -> None:
    """Who was read back after one change, and was due at the next, is in doubt again."""
    await bench.accept("acme", "a")
    for _ in range(2):
        await bench.become_another_server()
        claim = await take(bench)
        assert in_doubt(claim.shipments[0])
        await bench.report_of(
            [claim.shipments[0].with_progress(open_kind=None, open_at=0.0)], claim.lease_token, "park"
        )


@pytest.mark.parametrize(("age_s", "doubt"), [(3600, True), (0, True), (-10, True), (None, False)])
async def test_orders_that_may_be_sent_again(bench: Bench, age_s: float | None, doubt: bool) -> None:  # noqa: FBT001
    """An order from before the change, or from soon after it, may be one that is sent again; a later one is not."""
    await bench.take("other", "x")
    await bench.become_another_server()
    changed = await changed_at(bench)
    window_s = SENT_AGAIN_S + bench.settings.lease_seconds
    await accept_entered(bench, changed - age_s if age_s is not None else changed + window_s)
    assert in_doubt((await take(bench)).shipments[0]) == doubt


async def test_an_order_that_is_accepted_much_later(bench: Bench) -> None:
    """An entry that lay in the stream since before the change is in doubt a day later too."""
    await bench.take("other", "x")
    await bench.become_another_server()
    day_before = (await server_ms(bench.redis)) - 86_400_000
    await bench.raw.hset(SERVER, mapping={"changed": day_before, "before": day_before})
    await accept_entered(bench, day_before / 1000 - 5)
    held = (await take(bench)).shipments[0]
    assert (in_doubt(held), held.progress.open_at) == (True, day_before / 1000)


async def put_forward(bench: Bench, how: str) -> None:
    """Let a parked shipment go on before its time."""
    if how == "resume":
        assert await bench.ledger.resume("acme") == 1
    else:
        await bench.pause("acme")
        await bench.probe_is_due("acme")
        assert await bench.ledger.probe("acme") == "a"


@pytest.mark.parametrize("how", ["resume", "probe"])
async def test_who_was_put_forward(bench: Bench, how: str) -> None:
    """A shipment that is put forward may have been so before the change, and called for: it is in doubt."""
    await bench.report(await bench.take("acme", "a"), "park", due=bench.ledger.now() + 600)
    await bench.become_another_server()
    await put_forward(bench, how)
    assert in_doubt((await take(bench)).shipments[0])


async def test_who_is_put_back(bench: Bench) -> None:
    """A failed shipment that is put back may have been so before the change, and called for: it is in doubt."""
    (bench.settings.merchants_dir / "acme.toml").write_text(FILE.format(url="http://127.0.0.1:9", in_flight=0))
    await bench.report(await bench.take("acme", "a"), "park", due=bench.ledger.now() + 3600)
    await bench.end_waits("acme")
    await bench.report(await take(bench), "failed", event="{}", reason="conflict")
    await bench.become_another_server()
    await requeue_failed(bench.store, await prepare(bench.redis, bench.settings, ReplayFilter(merchant="acme"), 50), 0)
    assert in_doubt((await take(bench)).shipments[0])


@pytest.mark.parametrize("how", ["resume", "probe"])
async def test_who_is_put_forward_long_after_it(bench: Bench, how: str) -> None:
    """A shipment that was reported since the last change is in no doubt for being put forward."""
    await bench.become_another_server()
    claim = await bench.take("acme", "a")
    await bench.report_of(
        [claim.shipments[0].with_progress(open_kind=None, open_at=0.0)], claim.lease_token, "park", due=4e9
    )
    await put_forward(bench, how)
    assert not in_doubt((await take(bench)).shipments[0])


async def test_a_clock_that_is_behind_the_one_before(bench: Bench) -> None:
    """How often the server has changed tells what was before, whatever the clock of the other server said."""
    claim = await bench.take("acme", "a", "b")
    await bench.report(claim, "keep")
    await bench.become_another_server()
    behind = await server_ms(bench.redis) - 10_000
    await bench.raw.hset(SERVER, mapping={"changed": behind, "before": behind + 1000})
    assert not (await bench.permit(claim.shipments[0], claim.lease_token)).owned
    await bench.end_leases("acme")
    assert [in_doubt(held) for held in (await take(bench)).shipments] == [True, True]
