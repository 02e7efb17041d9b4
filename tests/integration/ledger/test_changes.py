"""After a change of the server leases from before it give no permit; what they have in hand can be reported."""

import asyncio
from typing import Any

import pytest

from tasks.rules.shipment import Shipment
from tasks.work.ports import Claim, PermitRequest
from tests.factories.ledger_harness import Bench, is_alone, new, references
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


async def test_the_first_start_is_no_change(bench: Bench) -> None:
    """A server that has always been there has forgotten nothing."""
    assert not in_doubt((await bench.take("acme", "a")).shipments[0])
    assert await bench.field("server", "changes") == ""


@pytest.mark.parametrize("purpose", ["read", "allocate"])
async def test_a_lease_from_before_gives_no_permit(bench: Bench, purpose: str) -> None:
    """Neither for a call nor for a read-back; the shipment is due again at once, and noted as not called for."""
    claim = await bench.take("acme", "a", "b")
    await bench.become_another_server()
    permits = await asyncio.gather(
        *(bench.permit(held, claim.lease_token, purpose=purpose) for held in claim.shipments)
    )
    assert [permit.owned for permit in permits] == [False, False]
    assert [await bench.phase("acme", reference) for reference in ("a", "b")] == ["", ""]
    assert await bench.raw.zcard("allocation:working:acme") == 0
    (batch,) = await bench.take_all()
    assert sorted(references(batch)) == ["a", "b"]
    assert not is_alone(batch)


async def test_a_lease_from_after_it_does(bench: Bench) -> None:
    """Who takes a shipment after the change may call."""
    await bench.become_another_server()
    claim = await bench.take("acme", "a")
    assert (await bench.permit(claim.shipments[0], claim.lease_token)).may_call


async def test_a_lease_that_was_kept_is_from_before(bench: Bench) -> None:
    """A report after the change does not make the lease a new one."""
    claim = await bench.take("acme", "a")
    await bench.become_another_server()
    assert await bench.report(claim, "keep") == [True]
    assert not (await bench.permit(claim.shipments[0], claim.lease_token)).owned


async def test_renewals_go_on(bench: Bench) -> None:
    """Whose call is out keeps the shipment until its answer is there."""
    claim = await bench.take("acme", "a")
    await bench.permit(claim.shipments[0], claim.lease_token)
    await bench.become_another_server()
    await bench.end_leases("acme")
    await bench.ledger.renew([(claim.shipments[0], claim.lease_token)])
    assert await bench.take_all() == []
    assert await bench.phase("acme", "a") == "c"


@pytest.mark.parametrize("verdict", ["keep", "hand", "park", "allocated", "failed"])
async def test_results_in_hand_are_reported(bench: Bench, verdict: Any) -> None:
    """What a call from before the change came to is written."""
    claim = await bench.take("acme", "a")
    await bench.permit(claim.shipments[0], claim.lease_token)
    await bench.become_another_server()
    assert await bench.report(claim, verdict, event="{}", reason="conflict") == [True]


async def test_who_asks_twice_in_one_round_trip(bench: Bench) -> None:
    """Whoever loses its lease to the change has lost it for all it asks, and the shipment waits once."""
    claim = await bench.take("acme", "a")
    await bench.become_another_server()
    asked = [
        PermitRequest(shipment=claim.shipments[0], lease_token=claim.lease_token, purpose=p)
        for p in ("renew", "read", "renew")
    ]
    assert [permit.owned for permit in await bench.ledger.permit_all(asked)] == [True, False, False]
    assert await bench.raw.zcard("allocation:working:acme") == 0
    assert await bench.raw.zcard("allocation:waiting:acme") == 1
