"""Which losses count: those of an isolated shipment, while no others are lost, and whose worker has died."""

import pytest

from tasks.work.ports import Claim
from tests.factories.ledger_harness import Harness, is_isolated, references
from tests.factories.lost_leases import advance_one_lease, claim_after_losses, claim_isolated, single_shipment
from tests.factories.worker_child import FILE
from worker.ledger.ledger import HOST
from worker.ledger.replay import ReplayFilter, prepare, requeue_failed


async def test_an_isolated_loss_counts(harness: Harness) -> None:
    """The loss of an isolated shipment counts, if the host lost no other shipment then."""
    await claim_isolated(harness)
    for losses in (1, 2, 3):
        (batch,) = await claim_after_losses(harness)
        assert is_isolated(batch)
        assert single_shipment(batch).losses == losses


async def test_it_is_decided_a_lease_later(harness: Harness) -> None:
    """Other losses are known only when their leases end, so the shipment waits for that."""
    await claim_isolated(harness)
    await harness.expire_leases("acme")
    assert await harness.claim_all() == []
    waits_s = await harness.raw.zscore("allocation:schedule:acme", "a") / 1000 - harness.ledger.now()
    assert waits_s == pytest.approx(harness.settings.lease_seconds, abs=2)


async def test_a_resumed_shipment_is_decided_later_too(harness: Harness) -> None:
    """A resumed merchant's shipment is due at once, isolated; whether its loss counts is still undecided."""
    await claim_isolated(harness)
    await harness.expire_leases("acme")
    await harness.claim_all()
    await harness.ledger.resume("acme")
    (batch,) = await harness.claim_all()
    assert (is_isolated(batch), single_shipment(batch).losses) == (True, 0)
    assert await harness.field("shipment:acme:a", "lost_token") != ""


async def test_a_replay_clears_losses(harness: Harness) -> None:
    """A loss that was undecided when the shipment failed does not count after a replay."""
    (harness.settings.merchants_dir / "acme.toml").write_text(FILE.format(url="http://127.0.0.1:9", in_flight=0))
    await claim_isolated(harness)
    await harness.expire_leases("acme")
    await harness.claim_all()
    await harness.ledger.resume("acme")
    (batch,) = await harness.claim_all()
    await harness.report(batch, "failed", event="{}", reason="conflict")
    await requeue_failed(
        harness.store, await prepare(harness.redis, harness.settings, ReplayFilter(merchant="acme"), 50), 0
    )
    await advance_one_lease(harness)
    (again,) = await harness.claim_all()
    assert (is_isolated(again), single_shipment(again).losses) == (False, 0)


@pytest.mark.parametrize("other", ["other", "acme"])
async def test_other_losses_at_the_same_time(harness: Harness, other: str) -> None:
    """If the same host loses other shipments of any merchant, none of them counts."""
    await claim_isolated(harness)
    await harness.claim(other, "x")
    await harness.expire_leases("acme")
    await harness.expire_leases(other)
    await harness.settle(await harness.claim_all())
    (batch,) = [batch for batch in await claim_after_losses(harness) if references(batch) == ["a"]]
    assert single_shipment(batch).losses == 0


@pytest.mark.parametrize(("apart", "losses"), [(0.5, 0), (-0.5, 0), (1.5, 1), (-1.5, 1)])
async def test_the_same_time_is_within_a_lease(harness: Harness, apart: float, losses: int) -> None:
    """Another loss is at the same time if it was at most a lease earlier or later."""
    await claim_isolated(harness)
    await harness.expire_leases("acme")
    await harness.claim_all()
    losses_of_host = f"allocation:host_losses:{HOST}"
    at = await harness.raw.zscore(losses_of_host, "acme:a") + apart * harness.settings.lease_seconds * 1000
    await harness.raw.zadd(losses_of_host, {"other:x": at})
    (batch,) = await claim_after_losses(harness)
    assert single_shipment(batch).losses == losses


async def test_losses_of_another_host(harness: Harness) -> None:
    """Losses of another host are independent."""
    await claim_isolated(harness)
    await harness.expire_leases("acme")
    await harness.claim_all()
    await harness.raw.zadd(
        "allocation:host_losses:another0",
        {"acme:x": await harness.raw.zscore(f"allocation:host_losses:{HOST}", "acme:a")},
    )
    (batch,) = await claim_after_losses(harness)
    assert single_shipment(batch).losses == 1


async def test_forgotten_losses(harness: Harness) -> None:
    """A loss that is decided after the host's other losses are forgotten does not count."""
    await claim_isolated(harness)
    await harness.expire_leases("acme")
    await harness.claim_all()
    await harness.raw.delete(f"allocation:host_losses:{HOST}")
    (batch,) = await claim_after_losses(harness)
    assert single_shipment(batch).losses == 0


async def test_losses_are_remembered_for_an_hour(harness: Harness) -> None:
    """Until the loss of an isolated shipment is decided, other losses are known, however long workers are down."""
    await claim_isolated(harness)
    await harness.expire_leases("acme")
    await harness.raw.zadd(f"allocation:host_losses:{HOST}", {"old": 1})
    await harness.claim_all()
    assert 3_500_000 < await harness.raw.pttl(f"allocation:host_losses:{HOST}") <= 3_600_000
    assert await harness.raw.zscore(f"allocation:host_losses:{HOST}", "old") is None


@pytest.mark.parametrize("shows", ["renew", "permit", "report"])
async def test_a_live_child_revokes_an_isolated_loss(harness: Harness, shows: str) -> None:
    """A child that could not renew, and sends a request while its shipment waits, revokes the loss."""
    late = await claim_isolated(harness)
    await harness.expire_leases("acme")
    await harness.claim_all()
    await send_late_request(harness, late, shows)
    (batch,) = await claim_after_losses(harness)
    assert single_shipment(batch).losses == 0


@pytest.mark.parametrize("shows", ["renew", "permit", "report"])
async def test_a_live_child_revokes_other_losses(harness: Harness, shows: str) -> None:
    """Two times without a connection to the server do not isolate a shipment whose child survived both."""
    late = await harness.claim("acme", "a", "b")
    for _ in range(2):
        (batch,) = await claim_after_losses(harness)
        assert not is_isolated(batch)
        await send_late_request(harness, late, shows)
        late = batch
    assert await harness.field("shipment:acme:a", "group_losses") == "0"


async def send_late_request(harness: Harness, late: Claim, how: str) -> None:
    """A task that lost its shipments sends one of its requests."""
    match how:
        case "renew":
            await harness.ledger.renew([(held, late.lease_token) for held in late.shipments])
        case "permit":
            for held in late.shipments:
                assert not (await harness.permit(held, late.lease_token)).owned
        case "report":
            assert not any(await harness.report(late, "park"))


async def test_another_token_revokes_nothing(harness: Harness) -> None:
    """Only the earlier owner can revoke the loss."""
    late = await claim_isolated(harness)
    await harness.expire_leases("acme")
    await harness.claim_all()
    await harness.permit(late.shipments[0], "another.lease_token")
    (batch,) = await claim_after_losses(harness)
    assert single_shipment(batch).losses == 1
