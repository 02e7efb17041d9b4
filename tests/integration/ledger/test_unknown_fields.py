"""Fields written by a newer version are kept unchanged."""

import json
from typing import Any

import pytest

from tasks.work.messages import parse_link
from tests.factories.ledger_harness import Harness
from tests.factories.worker_child import FILE
from worker.ledger.replay import ReplayFilter, prepare, requeue_failed

RECORD = "allocation:shipment:acme:a"
UNKNOWN = {"colour": "blue", "nested": {"list": [1, None]}}


async def newer(harness: Harness) -> None:
    """Add unknown fields to the record, the intake record and the progress."""
    await harness.raw.hset(RECORD, mapping={"unheard_of": "kept", "progress": json.dumps({"waits": 3, **UNKNOWN})})
    facts = json.loads(await harness.field("shipment:acme:a", "intake"))
    facts["facts"] |= {"weather": "fine"}
    await harness.raw.hset(RECORD, "intake", json.dumps(facts | UNKNOWN))


async def kept(harness: Harness) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The unknown fields of the record."""
    progress, facts = [json.loads(await harness.field("shipment:acme:a", name)) for name in ("progress", "intake")]
    return await harness.field("shipment:acme:a", "unheard_of"), progress, facts


@pytest.mark.parametrize("verdict", ["keep", "hand", "park", "allocated", "failed"])
async def test_a_report_keeps_them(harness: Harness, verdict: Any) -> None:
    """Whatever is reported, fields of the record and of the progress are kept."""
    await harness.accept("acme", "a")
    await newer(harness)
    (claim,) = await harness.claim_all()
    assert claim.shipments[0].progress.waits == 3
    with_changes = claim.shipments[0].with_progress(attempts=1)
    await harness.report_of(
        [with_changes], claim.lease_token, verdict, event="{}", reason="conflict", entry={"action": "allocate"}
    )
    field, progress, facts = await kept(harness)
    assert (field, facts["colour"]) == ("kept", "blue")
    assert progress == {"waits": 3, "attempts": 1, **UNKNOWN}


async def test_a_known_shipment_keeps_them(harness: Harness) -> None:
    """A repeated order leaves them unchanged."""
    await harness.accept("acme", "a")
    await newer(harness)
    before = await harness.raw.hgetall(RECORD)
    await harness.accept("acme", "a")
    assert await harness.raw.hgetall(RECORD) == before


async def test_a_lost_worker_keeps_them(harness: Harness) -> None:
    """So does the loss of a worker."""
    claim = await harness.claim("acme", "a")
    await newer(harness)
    await harness.permit(claim.shipments[0], claim.lease_token)
    await harness.expire_leases("acme")
    (again,) = await harness.claim_all()
    await harness.report(again, "park")
    field, progress, _ = await kept(harness)
    assert (field, progress["nested"], progress["open_kind"]) == ("kept", UNKNOWN["nested"], "unknown")


async def test_a_replay_keeps_them(harness: Harness) -> None:
    """A replayed shipment keeps them."""
    (harness.settings.merchants_dir / "acme.toml").write_text(FILE.format(url="http://127.0.0.1:9", in_flight=0))
    await harness.report(await harness.claim("acme", "a"), "failed", event="{}", reason="conflict")
    await newer(harness)
    replay = await requeue_failed(
        harness.store, await prepare(harness.redis, harness.settings, ReplayFilter(merchant="acme"), 50), 0
    )
    assert len(replay.items) == 1
    field, progress, facts = await kept(harness)
    assert (field, progress["colour"], progress["nested"]) == ("kept", "blue", UNKNOWN["nested"])
    assert (facts["colour"], facts["facts"]["weather"]) == ("blue", "fine")


def test_a_message_keeps_them() -> None:
    """A link's message is passed on with its unknown fields, without the counts of the link before."""
    message = {"merchant": "acme", "shipments": 1, "claims": ["token acme 1 a"], **UNKNOWN}
    link = parse_link({**message, "allocated": 3, "in_progress": 1})
    assert link.as_message() == message
