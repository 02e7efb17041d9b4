"""After a change of the server, earlier leases give no permit; their results can still be reported."""

import asyncio
from typing import Any

import pytest

from tasks.rules.shipment import Shipment
from tasks.work.ports import Claim, PermitRequest
from tests.factories.ledger_harness import Harness, is_isolated, new, references
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


async def test_the_first_start_is_no_change(harness: Harness) -> None:
    """A server that was never restarted has forgotten nothing."""
    assert not in_doubt((await harness.claim("acme", "a")).shipments[0])
    assert await harness.field("server", "epoch") == ""


@pytest.mark.parametrize("purpose", ["read", "allocate"])
async def test_a_lease_from_before_gives_no_permit(harness: Harness, purpose: str) -> None:
    """Neither for a call nor for a read-back; the shipment is due again at once, and recorded as not called for."""
    claim = await harness.claim("acme", "a", "b")
    await harness.simulate_server_change()
    permits = await asyncio.gather(
        *(harness.permit(held, claim.lease_token, purpose=purpose) for held in claim.shipments)
    )
    assert [permit.owned for permit in permits] == [False, False]
    assert [await harness.phase("acme", reference) for reference in ("a", "b")] == ["", ""]
    assert await harness.raw.zcard("allocation:working:acme") == 0
    (batch,) = await harness.claim_all()
    assert sorted(references(batch)) == ["a", "b"]
    assert not is_isolated(batch)


async def test_a_lease_from_after_it_gives_permits(harness: Harness) -> None:
    """A shipment claimed after the change may be called for."""
    await harness.simulate_server_change()
    claim = await harness.claim("acme", "a")
    assert (await harness.permit(claim.shipments[0], claim.lease_token)).may_call


async def test_a_lease_that_was_kept_is_from_before(harness: Harness) -> None:
    """A report after the change does not renew the validity of the lease."""
    claim = await harness.claim("acme", "a")
    await harness.simulate_server_change()
    assert await harness.report(claim, "keep") == [True]
    assert not (await harness.permit(claim.shipments[0], claim.lease_token)).owned


async def test_renewals_continue(harness: Harness) -> None:
    """A task with a call in flight keeps the shipment until it has the response."""
    claim = await harness.claim("acme", "a")
    await harness.permit(claim.shipments[0], claim.lease_token)
    await harness.simulate_server_change()
    await harness.expire_leases("acme")
    await harness.ledger.renew([(claim.shipments[0], claim.lease_token)])
    assert await harness.claim_all() == []
    assert await harness.phase("acme", "a") == "c"


@pytest.mark.parametrize("verdict", ["keep", "hand", "park", "allocated", "failed"])
async def test_results_are_reported(harness: Harness, verdict: Any) -> None:
    """The outcome of a call from before the change is written."""
    claim = await harness.claim("acme", "a")
    await harness.permit(claim.shipments[0], claim.lease_token)
    await harness.simulate_server_change()
    assert await harness.report(claim, verdict, event="{}", reason="conflict") == [True]


async def test_two_requests_in_one_round_trip(harness: Harness) -> None:
    """A lease that is lost to the change is lost for all requests, and the shipment is released once."""
    claim = await harness.claim("acme", "a")
    await harness.simulate_server_change()
    requests = [
        PermitRequest(shipment=claim.shipments[0], lease_token=claim.lease_token, purpose=p)
        for p in ("read", "allocate", "read")
    ]
    assert [permit.owned for permit in await harness.ledger.permit_all(requests)] == [False, False, False]
    assert await harness.raw.zcard("allocation:working:acme") == 0
    assert await harness.raw.zcard("allocation:schedule:acme") == 1
