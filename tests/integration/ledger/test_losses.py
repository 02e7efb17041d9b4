"""Which losses of a worker count: of a shipment that was alone, not while others are lost, not if the worker lives."""

import pytest

from tasks.work.ports import Claim
from tests.factories.children import FILE
from tests.factories.ledger_harness import Bench, is_alone, references
from tests.factories.lost import a_lease_passes, lost, only, take_alone
from worker.ledger.ledger import HOST
from worker.ledger.replay import ReplayFilter, prepare, requeue_failed


async def test_a_loss_alone_counts(bench: Bench) -> None:
    """A shipment that was alone when its worker was lost is to blame, if no other one of the host was lost then."""
    await take_alone(bench)
    for losses in (1, 2, 3):
        (batch,) = await lost(bench)
        assert is_alone(batch)
        assert only(batch).losses == losses


async def test_it_is_decided_a_lease_later(bench: Bench) -> None:
    """Whether others were lost too shows only when their leases end, so the shipment waits for that."""
    await take_alone(bench)
    await bench.end_leases("acme")
    assert await bench.take_all() == []
    waits_s = await bench.raw.zscore("allocation:waiting:acme", "a") / 1000 - bench.ledger.now()
    assert waits_s == pytest.approx(bench.settings.lease_seconds, abs=2)


async def test_who_is_due_earlier_is_not_judged_earlier(bench: Bench) -> None:
    """A resumed merchant's shipment goes on at once, alone; what its loss was worth is still open."""
    await take_alone(bench)
    await bench.end_leases("acme")
    await bench.take_all()
    await bench.ledger.resume("acme")
    (batch,) = await bench.take_all()
    assert (is_alone(batch), only(batch).losses) == (True, 0)
    assert await bench.field("shipment:acme:a", "lost_token") != ""


async def test_who_is_put_back_begins_anew(bench: Bench) -> None:
    """A loss that was not judged yet when the shipment failed says nothing about it once it is put back."""
    (bench.settings.merchants_dir / "acme.toml").write_text(FILE.format(url="http://127.0.0.1:9", in_flight=0))
    await take_alone(bench)
    await bench.end_leases("acme")
    await bench.take_all()
    await bench.ledger.resume("acme")
    (batch,) = await bench.take_all()
    await bench.report(batch, "failed", event="{}", reason="conflict")
    await requeue_failed(bench.store, await prepare(bench.redis, bench.settings, ReplayFilter(merchant="acme"), 50), 0)
    await a_lease_passes(bench)
    (again,) = await bench.take_all()
    assert (is_alone(again), only(again).losses) == (False, 0)


@pytest.mark.parametrize("other", ["other", "acme"])
async def test_not_while_others_are_lost(bench: Bench, other: str) -> None:
    """While other shipments of the same host are lost as well, of whichever merchant, none of them is to blame."""
    await take_alone(bench)
    await bench.take(other, "x")
    await bench.end_leases("acme")
    await bench.end_leases(other)
    await bench.settle(await bench.take_all())
    (batch,) = [batch for batch in await lost(bench) if references(batch) == ["a"]]
    assert only(batch).losses == 0


@pytest.mark.parametrize(("apart", "losses"), [(0.5, 0), (-0.5, 0), (1.5, 1), (-1.5, 1)])
async def test_about_then_is_within_a_lease(bench: Bench, apart: float, losses: int) -> None:
    """Another loss counts as one of the same trouble if it was no more than a lease earlier or later."""
    await take_alone(bench)
    await bench.end_leases("acme")
    await bench.take_all()
    losses_of_host = f"allocation:lost:{HOST}"
    at = await bench.raw.zscore(losses_of_host, "acme:a") + apart * bench.settings.lease_seconds * 1000
    await bench.raw.zadd(losses_of_host, {"other:x": at})
    (batch,) = await lost(bench)
    assert only(batch).losses == losses


async def test_losses_of_another_host(bench: Bench) -> None:
    """What another host loses says nothing about this one."""
    await take_alone(bench)
    await bench.end_leases("acme")
    await bench.take_all()
    await bench.raw.zadd(
        "allocation:lost:another0", {"acme:x": await bench.raw.zscore(f"allocation:lost:{HOST}", "acme:a")}
    )
    (batch,) = await lost(bench)
    assert only(batch).losses == 1


async def test_what_nobody_remembers_any_more(bench: Bench) -> None:
    """A loss that is judged only when the host's other losses are forgotten does not count."""
    await take_alone(bench)
    await bench.end_leases("acme")
    await bench.take_all()
    await bench.raw.delete(f"allocation:lost:{HOST}")
    (batch,) = await lost(bench)
    assert only(batch).losses == 0


async def test_losses_are_remembered_for_an_hour(bench: Bench) -> None:
    """Until a shipment that was alone is judged, however long all workers are away, others are known as lost."""
    await take_alone(bench)
    await bench.end_leases("acme")
    await bench.raw.zadd(f"allocation:lost:{HOST}", {"old": 1})
    await bench.take_all()
    assert 3_500_000 < await bench.raw.pttl(f"allocation:lost:{HOST}") <= 3_600_000
    assert await bench.raw.zscore(f"allocation:lost:{HOST}", "old") is None


@pytest.mark.parametrize("shows", ["renew", "permit", "report"])
async def test_a_child_that_lives_lost_nothing_alone(bench: Bench, shows: str) -> None:
    """A child that could not renew, and shows up while its shipment waits, takes the loss back."""
    late = await take_alone(bench)
    await bench.end_leases("acme")
    await bench.take_all()
    await show_up(bench, late, shows)
    (batch,) = await lost(bench)
    assert only(batch).losses == 0


@pytest.mark.parametrize("shows", ["renew", "permit", "report"])
async def test_a_child_that_lives_lost_nothing_in_company(bench: Bench, shows: str) -> None:
    """Two times without a connection to the server do not isolate a shipment whose child lived through both."""
    late = await bench.take("acme", "a", "b")
    for _ in range(2):
        (batch,) = await lost(bench)
        assert not is_alone(batch)
        await show_up(bench, late, shows)
        late = batch
    assert await bench.field("shipment:acme:a", "company_lost") == "0"


async def show_up(bench: Bench, late: Claim, how: str) -> None:
    """A task that lost its shipments does what it would have done."""
    match how:
        case "renew":
            await bench.ledger.renew([(held, late.lease_token) for held in late.shipments])
        case "permit":
            for held in late.shipments:
                assert not (await bench.permit(held, late.lease_token)).owned
        case "report":
            assert not any(await bench.report(late, "park"))


async def test_somebody_else_takes_nothing_back(bench: Bench) -> None:
    """Only who held the shipment shows by its life that it was not lost."""
    late = await take_alone(bench)
    await bench.end_leases("acme")
    await bench.take_all()
    await bench.permit(late.shipments[0], "another.lease_token")
    (batch,) = await lost(bench)
    assert only(batch).losses == 1
