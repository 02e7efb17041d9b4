"""A record that this version cannot read: it affects no other shipment, is unchanged, and fails at its deadline."""

import json
from typing import Any

import pytest

from tasks.work.ports import Claim
from tests.factories.ledger_harness import Harness, new
from tests.factories.raw_api import Handler, listening, responds_with, response
from tests.factories.worker_child import none_in_flight, serve, write_merchant_file
from worker.ledger.failures import failures
from worker.ledger.records import read_record
from worker.ledger.replay import ReplayFilter, prepare, requeue_failed
from worker.processes.child import ChildRuntime
from worker.streams.orders import GROUP

RECORD = "allocation:shipment:acme:bad"
FACTS = {"order": "1", "event": "e", "api": "shipments-v2", "rule": "default", "why": "", "facts": {}}
STEPS = [{"virtual_service": "X"}]
DAMAGES: dict[str, dict[str, str]] = {
    "facts that are no JSON": {"intake": "{"},
    "facts that are no text": {"intake": "\udcff"},
    "facts of another shape": {"intake": "[]"},
    "no facts": {"intake": ""},
    "an unknown strategy": {"intake": json.dumps({**FACTS, "steps": [{"teleport": "X"}]})},
    "no steps": {"intake": json.dumps({**FACTS, "steps": []})},
    "fewer fields": {"intake": json.dumps({"steps": STEPS})},
    "progress that is no JSON": {"progress": "no JSON"},
    "progress of another shape": {"progress": "[1]"},
    "progress of other types": {"progress": '{"step": "first"}'},
    "an unknown kind of open call": {"progress": '{"open_kind": "teleported"}'},
    "a step beyond the last": {"progress": '{"step": 7}'},
    "an attempt beyond the last step": {"progress": '{"attempted": 7}'},
    "losses that are no number": {"losses": "many"},
    "a time that is none": {"received": "yesterday"},
}
EVERY_DAMAGE = pytest.mark.parametrize("damage", DAMAGES)


async def damage_record(harness: Harness, damage: str) -> None:
    """Make a record one of a newer version, or a damaged one."""
    for name, value in DAMAGES[damage].items():
        await harness.raw.hset(RECORD, name, value.encode(errors="surrogateescape"))


async def claim_due(harness: Harness, damage: str) -> Claim:
    """A claim of a good shipment and a damaged one."""
    await harness.accept("acme", "bad", "good")
    await damage_record(harness, damage)
    (batch,) = await harness.claim_all()
    return batch


def responds_with_state(state: str) -> Handler:
    """An API where every shipment is in this state."""
    return responds_with(response(200, json.dumps({"state": state, "shipment_reference": "bad"}).encode()))


async def visit(child: ChildRuntime, harness: Harness) -> None:
    """Let the child work on what is due."""
    await harness.make_due("acme")
    await serve(child)
    await none_in_flight(child)


async def overdue(harness: Harness) -> None:
    """Set the record's times to long ago."""
    await harness.raw.hset(RECORD, "received", 1)


@EVERY_DAMAGE
async def test_it_affects_no_other_shipment(harness: Harness, damage: str) -> None:
    """The others in the claim are normal, and it is listed separately with the reason."""
    claim = await claim_due(harness, damage)
    assert [held.reference for held in claim.shipments] == ["good"]
    (bad,) = claim.unreadable
    assert (bad.merchant, bad.reference, bool(bad.error), "\n" in bad.error) == ("acme", "bad", True, False)
    assert (bad.received > 0) == ("received" not in DAMAGES[damage])


async def test_a_missing_intake_time(harness: Harness) -> None:
    """Without the time of its intake a record's deadline counts from the earliest time of its order."""
    (accepted,) = new("acme", "bad")
    await harness.ledger.accept([accepted._replace(earliest_at=1795255200.0)], [], [], GROUP)
    await damage_record(harness, "a time that is none")
    (batch,) = await harness.claim_all()
    (bad,) = batch.unreadable
    assert bad.received == 1795255200.0


@pytest.mark.parametrize("damage", ["facts that are no JSON", "a step beyond the last", "losses that are no number"])
async def test_it_is_unchanged(child: ChildRuntime, harness: Harness, damage: str) -> None:
    """It is read back and parked repeatedly, and its record does not change; it is never called for."""
    await harness.accept("acme", "bad")
    await damage_record(harness, damage)
    before = await harness.raw.hgetall(RECORD)
    async with listening(responds_with_state("unallocated")) as api:
        write_merchant_file(harness.settings, api.url)
        for _ in range(2):
            await visit(child, harness)
        assert [(request.method, request.reference) for request in api.requests] == [("GET", "bad")] * 2
    assert await harness.raw.hgetall(RECORD) == before
    assert await harness.raw.zscore("allocation:schedule:acme", "bad") is not None


async def test_a_lost_call_is_kept(harness: Harness) -> None:
    """If a call was open, a worker that can read the record gets it, however often it was parked meanwhile."""
    claim = await harness.claim("acme", "bad")
    await harness.permit(claim.shipments[0], claim.lease_token)
    await harness.expire_leases("acme")
    await harness.raw.hset(RECORD, "progress", "newer")
    (again,) = await harness.claim_all()
    lost_at_ms = await harness.field("shipment:acme:bad", "lost_call_at")
    await harness.park_unreadable(again)
    await harness.raw.hdel(RECORD, "progress")
    (batch,) = await harness.claim_all()
    (held,) = batch.shipments
    assert held.progress.open_at == int(lost_at_ms) / 1000


async def test_a_doubt_is_kept(harness: Harness) -> None:
    """A change of the server is kept when a worker that cannot read the record parks it."""
    await harness.accept("acme", "bad")
    await harness.simulate_server_change()
    await harness.raw.hset(RECORD, "progress", "newer")
    (batch,) = await harness.claim_all()
    await harness.park_unreadable(batch)
    await harness.raw.hdel(RECORD, "progress")
    (batch,) = await harness.claim_all()
    (held,) = batch.shipments
    assert held.progress.open_kind == "unknown"


async def test_it_is_adopted(child: ChildRuntime, harness: Harness) -> None:
    """If it is found allocated, it has its event; values from its record are null."""
    await harness.accept("acme", "bad")
    await damage_record(harness, "facts that are no JSON")
    async with listening(responds_with_state("allocated")) as api:
        write_merchant_file(harness.settings, api.url)
        await visit(child, harness)
    ((_, entry),) = await harness.raw.xrange(harness.settings.allocated_stream)
    data = json.loads(entry[b"event"])["data"]
    assert (data["shipment"], data["adopted"]) == ("bad", True)
    assert [data[name] for name in ("order", "rule", "api", "strategy", "attempts", "order_event")] == [None] * 6


async def test_it_fails_at_its_deadline(child: ChildRuntime, harness: Harness) -> None:
    """Not earlier; and then it is among the failures, which can be listed and explained, but not replayed."""
    await harness.accept("acme", "bad")
    await damage_record(harness, "progress that is no JSON")
    async with listening(responds_with_state("unallocated")) as api:
        write_merchant_file(harness.settings, api.url)
        await visit(child, harness)
        assert await harness.raw.xlen(harness.settings.failed_stream) == 0
        await overdue(harness)
        await visit(child, harness)
    ((_, entry),) = await harness.raw.xrange(harness.settings.failed_stream)
    data = json.loads(entry[b"event"])["data"]
    assert (data["reason"], data["order"], data["attempts"]) == ("unreadable_record", None, None)
    (failure,) = await failures(harness.redis, harness.settings, ["acme"])
    assert (failure.reason, failure.progress) == ("unreadable_record", None)
    replay = await prepare(harness.redis, harness.settings, ReplayFilter(merchant="acme"), 50)
    assert (replay.items, [why for _, why in replay.kept]) == ((), ["unreadable_record"])
    assert await requeue_failed(harness.store, replay, 0) == replay
    record = await read_record(harness.redis, harness.settings, "acme", "bad")
    assert record is not None
    assert (record.unreadable != "", getattr(record.where, "state", None)) == (True, "failed")


@EVERY_DAMAGE
async def test_it_can_be_explained(harness: Harness, damage: str) -> None:
    """`allocation explain` states that its record cannot be read, why, and its key."""
    await harness.accept("acme", "bad")
    await harness.raw.hset(RECORD, "entry:1", json.dumps({"at": "2026-01-01T00:00:00.000Z", "action": "read"}))
    await damage_record(harness, damage)
    record: Any = await read_record(harness.redis, harness.settings, "acme", "bad")
    assert (record.unreadable != "", record.shipment.reference, record.facts) == (True, "bad", {})
    assert record.where.due == pytest.approx(record.now, abs=2)
    assert [entry["action"] for _, entry in record.history] == ["read"]


async def test_failed_records_of_a_newer_version(harness: Harness) -> None:
    """Unreadable facts keep a failed shipment as it is, and the others are replayed."""
    claim = await harness.claim("acme", "bad", "good")
    await harness.report(claim, "failed", event="{}", reason="conflict")
    await damage_record(harness, "facts that are no JSON")
    write_merchant_file(harness.settings, "http://127.0.0.1:9")
    replay = await prepare(harness.redis, harness.settings, ReplayFilter(merchant="acme"), 50)
    assert [items.failure.reference for items in replay.items] == ["good"]
    assert [(failure.reference, why) for failure, why in replay.kept] == [("bad", "unreadable_record")]
