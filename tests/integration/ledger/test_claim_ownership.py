"""Claims and their lease tokens: only the owner of a shipment may work on it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from config.settings import Settings
from tasks.rules.shipment import Shipment
from tasks.work.messages import FellBack, Link, LinkClaim, make_link
from tasks.work.ports import Claim
from tests.factories.ledger_harness import Harness
from worker.ledger.scripts import CLAIM


async def fall_back(harness: Harness, *references: str, step: int = 1) -> Link:
    """A link for shipments that fell back to a step."""
    claim = await harness.claim("acme", *references)
    refused = [held.with_progress(step=step) for held in claim.shipments]
    await harness.report_of(refused, claim.lease_token, "hand")
    return to_link(claim, refused)


def to_link(claim: Claim, refused: list[Shipment]) -> Link:
    """The message of the next link."""
    return make_link([FellBack(shipment, claim.lease_token) for shipment in refused], {})


def loses_one_reply(run: Callable[..., Any]) -> Callable[..., Any]:
    """A server whose first reply is lost after the script has run."""
    lost = [ConnectionResetError("the reply is lost")]

    async def run_and_lose_reply(*arguments: Any) -> Any:
        reply = await run(*arguments)
        if lost:
            raise lost.pop()
        return reply

    return run_and_lose_reply


async def test_a_lost_reply(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the reply to a claim is lost, the retry returns the same shipments under the same token, and no others."""
    for merchant in ("acme", "other", "third"):
        await harness.accept(merchant, "a")
    monkeypatch.setattr(harness.store, "run", loses_one_reply(harness.store.run))
    found = await harness.claim_due(2)
    assert len(found) == 2
    assert {(await harness.lease_token_of(claim.merchant, "a"), claim.lease_token) for claim in found} == {
        (found[0].lease_token,) * 2
    }
    assert len(await harness.claim_all()) == 1


async def test_a_lost_reply_with_permits(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permits of a lost reply are not used, and stay recorded: a call may have been made."""
    harness = Harness(settings, admits=True)
    await harness.accept("acme", "a")
    monkeypatch.setattr(harness.store, "run", loses_one_reply(harness.store.run))
    (claim,) = await harness.claim_due()
    assert (set(claim.permitted), await harness.phase("acme", "a")) == (set(), "c")
    await harness.close()


async def test_a_first_try_that_is_late(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A try that reaches the server after its own retry claims nothing, as its reply is not read."""
    await harness.accept("acme", "a")
    run, tries = harness.store.run, []

    async def run_late(script: Any, keys: Any, args: Any) -> Any:
        tries.append(args)
        if len(tries) == 1:
            raise ConnectionResetError("it is still under way")
        return await run(script, keys, args)

    monkeypatch.setattr(harness.store, "run", run_late)
    assert len(await harness.claim_due()) == 1
    await harness.accept("acme", "b")
    await run(CLAIM, [], tries[0])
    assert [await harness.phase("acme", name) for name in "ab"] == ["r", ""]


async def test_a_retry_that_is_late(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry that reaches the server while a call is in flight does not remove its mark."""
    tries: list[Any] = []
    run = harness.store.run

    async def run_late(script: Any, keys: Any, args: Any) -> Any:
        tries.append(args)
        return await run(script, keys, args)

    monkeypatch.setattr(harness.store, "run", run_late)
    await harness.accept("acme", "a")
    (claim,) = await harness.claim_due()
    (first,) = [args for args in tries if args[:2] == (harness.ledger._child, claim.lease_token)]
    await harness.permit(claim.shipments[0], claim.lease_token)
    before = await harness.field("lease_tokens:acme", "a")
    await run(CLAIM, [], first._replace(is_retry=1))
    assert before.startswith("c:")
    assert await harness.field("lease_tokens:acme", "a") == before


async def test_a_link_is_claimed_once(harness: Harness) -> None:
    """The same message a second time claims nothing."""
    link = await fall_back(harness, "a", "b")
    (first,) = await harness.ledger.claim_link(link)
    assert sorted(held.reference for held in first.shipments) == ["a", "b"]
    assert await harness.ledger.claim_link(link) == ()


async def test_concurrent_copies_of_a_link(settings: Settings, harness: Harness) -> None:
    """Of many concurrent copies of a message, one claims each shipment."""
    link = await fall_back(harness, *(f"sp_{n}" for n in range(50)))
    others = [Harness(settings) for _ in range(8)]
    found = await asyncio.gather(*(other.ledger.claim_link(link) for other in others))
    await asyncio.gather(*(other.close() for other in others))
    assert sorted(sum(len(claim.shipments) for claim in one) for one in found) == [0] * 7 + [50]


async def test_a_stale_link(harness: Harness) -> None:
    """A message whose lease expired claims nothing, also if the shipment has no other owner since."""
    link = await fall_back(harness, "a")
    await harness.expire_leases("acme")
    assert len(await harness.claim_all()) == 1
    assert await harness.ledger.claim_link(link) == ()


@pytest.mark.parametrize("wrong", [{"token": "invented"}, {"references": ("unheard_of",)}, {"step": 2}])
async def test_an_invented_link(harness: Harness, wrong: dict[str, Any]) -> None:
    """An unknown token claims nothing, and a known one claims no other shipments and no other step."""
    (held,) = (await fall_back(harness, "a")).claims
    assert await harness.ledger.claim_link(Link(claims=(held._replace(**wrong),))) == ()


async def test_a_link_of_many_merchants(harness: Harness) -> None:
    """Each shipment is claimed under its own merchant, whatever the token that owned it."""
    held: list[LinkClaim] = []
    for merchant in ("acme", "other"):
        claim = await harness.claim(merchant, "a")
        refused = claim.shipments[0].with_progress(step=1)
        await harness.report_of([refused], claim.lease_token, "hand")
        held += to_link(claim, [refused]).claims
    found = await harness.ledger.claim_link(Link(claims=tuple(held)))
    assert sorted((claim.merchant, str(claim.shipments[0].strategy)) for claim in found) == [
        ("acme", "carrier_service SECOND"),
        ("other", "carrier_service SECOND"),
    ]


async def test_a_chain_runs_to_its_end(harness: Harness) -> None:
    """Each link gets the shipments that the one before was refused, until the last step."""
    claim = await harness.claim("acme", "a")
    steps = [str(claim.shipments[0].strategy)]
    while claim.shipments[0].has_fallback:
        refused = claim.shipments[0].with_progress(step=claim.shipments[0].progress.step + 1)
        await harness.report_of([refused], claim.lease_token, "hand")
        (claim,) = await harness.ledger.claim_link(to_link(claim, [refused]))
        steps.append(str(claim.shipments[0].strategy))
    assert steps == ["virtual_service FIRST", "carrier_service SECOND", "service_group THIRD"]


async def test_a_lost_chain(harness: Harness) -> None:
    """When a chain is lost, its shipments are due again at their current step, without a loss."""
    await fall_back(harness, "a", step=2)
    await harness.expire_leases("acme")
    (claim,) = await harness.claim_all()
    (held,) = claim.shipments
    assert (held.progress.step, held.losses, held.progress.open_kind) == (2, 0, None)


async def test_a_task_without_a_lease_may_not_call(harness: Harness) -> None:
    """A task whose shipment has another owner gets no permit, and does not disturb the new owner."""
    late = await harness.claim("acme", "a")
    await harness.expire_leases("acme")
    (now,) = await harness.claim_all()
    before = await harness.schedule("acme")
    assert not (await harness.permit(late.shipments[0], late.lease_token)).owned
    assert await harness.schedule("acme") == before
    assert (await harness.permit(now.shipments[0], now.lease_token)).owned


async def test_the_intake_record_is_loaded(harness: Harness) -> None:
    """A task gets order, event, rule and plan as they were fixed at intake."""
    claim = await harness.claim("acme", "a")
    (held,) = claim.shipments
    assert (held.merchant, held.reference, held.order, held.order_event) == ("acme", "a", "order-a", "evt-a")
    assert (held.api, held.rule, len(held.steps)) == ("shipments-v2", "default", 3)
    assert held.received == held.published
    assert abs(held.received - harness.ledger.now()) < 5
