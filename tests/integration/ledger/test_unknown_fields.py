"""What a newer version wrote beside what this one knows is carried along unchanged."""

import json
from typing import Any

import pytest

from tasks.work.messages import parse_link
from tests.factories.children import FILE
from tests.factories.ledger_harness import Bench
from worker.ledger.replay import ReplayFilter, prepare, requeue_failed

RECORD = "allocation:shipment:acme:a"
UNKNOWN = {"colour": "blue", "nested": {"list": [1, None]}}


async def newer(bench: Bench) -> None:
    """Let a newer version have written more into the record, the facts and the progress."""
    await bench.raw.hset(RECORD, mapping={"unheard_of": "kept", "progress": json.dumps({"waits": 3, **UNKNOWN})})
    facts = json.loads(await bench.field("shipment:acme:a", "facts"))
    facts["facts"] |= {"weather": "fine"}
    await bench.raw.hset(RECORD, "facts", json.dumps(facts | UNKNOWN))


async def kept(bench: Bench) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """What of it is in the record now."""
    progress, facts = [json.loads(await bench.field("shipment:acme:a", name)) for name in ("progress", "facts")]
    return await bench.field("shipment:acme:a", "unheard_of"), progress, facts


@pytest.mark.parametrize("verdict", ["keep", "hand", "park", "allocated", "failed"])
async def test_a_report_keeps_them(bench: Bench, verdict: Any) -> None:
    """Whatever is reported, fields of the record and of the progress stay."""
    await bench.accept("acme", "a")
    await newer(bench)
    (claim,) = await bench.take_all()
    assert claim.shipments[0].progress.waits == 3
    with_changes = claim.shipments[0].with_progress(attempts=1)
    await bench.report_of(
        [with_changes], claim.lease_token, verdict, event="{}", reason="conflict", entry={"do": "allocate"}
    )
    field, progress, facts = await kept(bench)
    assert (field, facts["colour"]) == ("kept", "blue")
    assert progress == {"waits": 3, "attempts": 1, **UNKNOWN}


async def test_a_known_shipment_keeps_them(bench: Bench) -> None:
    """An order that comes again leaves them alone."""
    await bench.accept("acme", "a")
    await newer(bench)
    before = await bench.raw.hgetall(RECORD)
    await bench.accept("acme", "a")
    assert await bench.raw.hgetall(RECORD) == before


async def test_a_lost_worker_keeps_them(bench: Bench) -> None:
    """So does the loss of a worker."""
    claim = await bench.take("acme", "a")
    await newer(bench)
    await bench.permit(claim.shipments[0], claim.lease_token)
    await bench.end_leases("acme")
    (again,) = await bench.take_all()
    await bench.report(again, "park")
    field, progress, _ = await kept(bench)
    assert (field, progress["nested"], progress["open_kind"]) == ("kept", UNKNOWN["nested"], "unknown")


async def test_a_replay_keeps_them(bench: Bench) -> None:
    """A shipment that is put back begins anew with them."""
    (bench.settings.merchants_dir / "acme.toml").write_text(FILE.format(url="http://127.0.0.1:9", in_flight=0))
    await bench.report(await bench.take("acme", "a"), "failed", event="{}", reason="conflict")
    await newer(bench)
    replay = await requeue_failed(
        bench.store, await prepare(bench.redis, bench.settings, ReplayFilter(merchant="acme"), 50), 0
    )
    assert len(replay.items) == 1
    field, progress, facts = await kept(bench)
    assert (field, progress["colour"], progress["nested"]) == ("kept", "blue", UNKNOWN["nested"])
    assert (facts["colour"], facts["facts"]["weather"]) == ("blue", "fine")


def test_a_message_keeps_them() -> None:
    """A link's message is passed on with what a newer version wrote into it, without the counts of the link before."""
    message = {"shipments": 1, "held": ["token acme 1 a"], **UNKNOWN}
    link = parse_link({**message, "allocated": 3, "under_way": 1})
    assert link.as_message() == message
