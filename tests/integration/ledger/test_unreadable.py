"""A record that this version cannot read: it concerns nobody else, stays as it is, and fails only at its deadline."""

import json
from typing import Any

import pytest

from tasks.work.ports import Claim
from tests.factories.children import none_in_flight, serve, write
from tests.factories.ledger_harness import Bench, new
from tests.factories.raw_api import Answer, answers, listening, response
from worker.ledger.records import failures, read_record
from worker.ledger.replay import ReplayFilter, prepare, requeue_failed
from worker.processes.child import ChildRuntime
from worker.streams.orders import GROUP

RECORD = "allocation:shipment:acme:bad"
FACTS = {"order": "1", "event": "e", "api": "shipments-v2", "rule": "default", "why": "", "facts": {}}
STEPS = [{"virtual_service": "X"}]
DAMAGES: dict[str, dict[str, str]] = {
    "facts that are no JSON": {"facts": "{"},
    "facts that are no text": {"facts": "\udcff"},
    "facts of another shape": {"facts": "[]"},
    "no facts": {"facts": ""},
    "an unknown strategy": {"facts": json.dumps({**FACTS, "steps": [{"teleport": "X"}]})},
    "no steps": {"facts": json.dumps({**FACTS, "steps": []})},
    "fewer fields": {"facts": json.dumps({"steps": STEPS})},
    "progress that is no JSON": {"progress": "no JSON"},
    "progress of another shape": {"progress": "[1]"},
    "progress of other types": {"progress": '{"step": "first"}'},
    "an unknown kind of open call": {"progress": '{"open_kind": "teleported"}'},
    "a step beyond the last": {"progress": '{"step": 7}'},
    "an attempt beyond the last step": {"progress": '{"attempted": 7}'},
    "losses that are no number": {"lost": "many"},
    "a time that is none": {"received": "yesterday"},
}
EVERY_DAMAGE = pytest.mark.parametrize("damage", DAMAGES)


async def damage_record(bench: Bench, damage: str) -> None:
    """Let a record be one of a newer version, or a damaged one."""
    for name, value in DAMAGES[damage].items():
        await bench.raw.hset(RECORD, name, value.encode(errors="surrogateescape"))


async def take(bench: Bench, damage: str) -> Claim:
    """A good shipment and a bad one in a task's hands."""
    await bench.accept("acme", "bad", "good")
    await damage_record(bench, damage)
    (batch,) = await bench.take_all()
    return batch


def says(state: str) -> Answer:
    """An API where every shipment is in this state."""
    return answers(response(200, json.dumps({"state": state, "shipment_reference": "bad"}).encode()))


async def visit(child: ChildRuntime, bench: Bench) -> None:
    """Let the child work on what is due."""
    await bench.end_waits("acme")
    await serve(child)
    await none_in_flight(child)


async def overdue(bench: Bench) -> None:
    """Let the record be from long ago."""
    await bench.raw.hset(RECORD, "received", 1)


@EVERY_DAMAGE
async def test_it_concerns_nobody_else(bench: Bench, damage: str) -> None:
    """The others of its message are taken as ever, and it is told apart with the reason."""
    claim = await take(bench, damage)
    assert [held.reference for held in claim.shipments] == ["good"]
    (bad,) = claim.unreadable
    assert (bad.merchant, bad.reference, bool(bad.error), "\n" in bad.error) == ("acme", "bad", True, False)
    assert (bad.received > 0) == ("received" not in DAMAGES[damage])


async def test_a_time_that_is_lost(bench: Bench) -> None:
    """Without the time of its intake a record's deadline counts from when its order came into being."""
    (accepted,) = new("acme", "bad")
    await bench.ledger.accept([accepted._replace(entered=1795255200.0)], [], [], GROUP)
    await damage_record(bench, "a time that is none")
    (batch,) = await bench.take_all()
    (bad,) = batch.unreadable
    assert bad.received == 1795255200.0


@pytest.mark.parametrize("damage", ["facts that are no JSON", "a step beyond the last", "losses that are no number"])
async def test_it_stays_as_it_is(child: ChildRuntime, bench: Bench, damage: str) -> None:
    """It is read back and parked, again and again, and not a byte of its record changes; it is never called for."""
    await bench.accept("acme", "bad")
    await damage_record(bench, damage)
    before = await bench.raw.hgetall(RECORD)
    async with listening(says("unallocated")) as api:
        write(bench.settings, api.url)
        for _ in range(2):
            await visit(child, bench)
        assert [(request.method, request.reference) for request in api.requests] == [("GET", "bad")] * 2
    assert await bench.raw.hgetall(RECORD) == before
    assert await bench.raw.zscore("allocation:waiting:acme", "bad") is not None


async def test_a_lost_call_stays_known(bench: Bench) -> None:
    """When a call was open before, whoever can read the record learns of it, however often it was parked meanwhile."""
    claim = await bench.take("acme", "bad")
    await bench.permit(claim.shipments[0], claim.lease_token)
    await bench.end_leases("acme")
    await bench.raw.hset(RECORD, "progress", "newer")
    (again,) = await bench.take_all()
    lost_call = await bench.field("shipment:acme:bad", "lost_call")
    await bench.park_unreadable(again)
    await bench.raw.hdel(RECORD, "progress")
    (batch,) = await bench.take_all()
    (held,) = batch.shipments
    assert held.progress.open_at == int(lost_call) / 1000


async def test_a_doubt_stays_too(bench: Bench) -> None:
    """A change of the server is not forgotten for being parked by somebody who cannot read the record."""
    await bench.accept("acme", "bad")
    await bench.become_another_server()
    await bench.raw.hset(RECORD, "progress", "newer")
    (batch,) = await bench.take_all()
    await bench.park_unreadable(batch)
    await bench.raw.hdel(RECORD, "progress")
    (batch,) = await bench.take_all()
    (held,) = batch.shipments
    assert held.progress.open_kind == "unknown"


async def test_it_is_adopted(child: ChildRuntime, bench: Bench) -> None:
    """Found allocated, it has its event; what only the record knew is null."""
    await bench.accept("acme", "bad")
    await damage_record(bench, "facts that are no JSON")
    async with listening(says("allocated")) as api:
        write(bench.settings, api.url)
        await visit(child, bench)
    ((_, entry),) = await bench.raw.xrange(bench.settings.allocated_stream)
    data = json.loads(entry[b"event"])["data"]
    assert (data["shipment"], data["adopted"]) == ("bad", True)
    assert [data[name] for name in ("order", "rule", "api", "strategy", "attempts", "order_event")] == [None] * 6


async def test_it_fails_at_its_deadline(child: ChildRuntime, bench: Bench) -> None:
    """Not earlier; and then it is among the failures, which can be listed and explained, and not put back."""
    await bench.accept("acme", "bad")
    await damage_record(bench, "progress that is no JSON")
    async with listening(says("unallocated")) as api:
        write(bench.settings, api.url)
        await visit(child, bench)
        assert await bench.raw.xlen(bench.settings.failed_stream) == 0
        await overdue(bench)
        await visit(child, bench)
    ((_, entry),) = await bench.raw.xrange(bench.settings.failed_stream)
    data = json.loads(entry[b"event"])["data"]
    assert (data["reason"], data["order"], data["attempts"]) == ("unreadable_record", None, None)
    (failure,) = await failures(bench.redis, bench.settings, "acme")
    assert (failure.reason, failure.progress) == ("unreadable_record", None)
    replay = await prepare(bench.redis, bench.settings, ReplayFilter(merchant="acme"), 50)
    assert (replay.items, [why for _, why in replay.kept]) == ((), ["unreadable_record"])
    assert await requeue_failed(bench.store, replay, 0) == replay
    record = await read_record(bench.redis, bench.settings, "acme", "bad")
    assert record is not None
    assert (record.unreadable != "", getattr(record.where, "state", None)) == (True, "failed")


@EVERY_DAMAGE
async def test_a_person_can_look_at_it(bench: Bench, damage: str) -> None:
    """What explains a shipment says that its record cannot be read, and why, and where it is."""
    await bench.accept("acme", "bad")
    await bench.raw.hset(RECORD, "entry:1", json.dumps({"at": "2026-01-01T00:00:00.000Z", "do": "read"}))
    await damage_record(bench, damage)
    record: Any = await read_record(bench.redis, bench.settings, "acme", "bad")
    assert (record.unreadable != "", record.shipment.reference, record.facts) == (True, "bad", {})
    assert record.where.due == pytest.approx(record.now, abs=2)
    assert [entry["do"] for _, entry in record.history] == ["read"]


async def test_failed_records_of_a_newer_version(bench: Bench) -> None:
    """Facts that cannot be read keep a failed shipment where it is, and the others are put back."""
    claim = await bench.take("acme", "bad", "good")
    await bench.report(claim, "failed", event="{}", reason="conflict")
    await damage_record(bench, "facts that are no JSON")
    write(bench.settings, "http://127.0.0.1:9")
    replay = await prepare(bench.redis, bench.settings, ReplayFilter(merchant="acme"), 50)
    assert [items.failure.reference for items in replay.items] == ["good"]
    assert [(failure.reference, why) for failure, why in replay.kept] == [("bad", "unreadable_record")]
