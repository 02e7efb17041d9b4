"""Reports: written for the owner only, and the verdict in the same transaction as its event."""

import asyncio
from typing import Any

import pytest

from config.settings import Settings
from tasks.work.ports import Report
from tests.factories.ledger_harness import Harness, until
from worker.redis_client.store import ResponseError

A_DAY_S = 86400


async def events(harness: Harness, stream: str) -> list[str]:
    """The events of an output stream."""
    return [entry[b"event"].decode() for _, entry in await harness.raw.xrange(stream)]


async def test_a_settled_shipment_leaves_the_schedule(harness: Harness) -> None:
    """An allocated shipment has its event, is not scheduled, and its record is kept as long as the settings require."""
    claim = await harness.claim("acme", "a")
    assert await harness.report(claim, "allocated", event="the event") == [True]
    assert await events(harness, harness.settings.allocated_stream) == ["the event"]
    assert await events(harness, harness.settings.failed_stream) == []
    await harness.expire_leases("acme")
    assert await harness.claim_all() == []
    assert (
        await harness.raw.zcard("allocation:working:acme") == await harness.raw.zcard("allocation:schedule:acme") == 0
    )
    assert 0 < await harness.raw.ttl("allocation:shipment:acme:a") <= harness.settings.keep_days * A_DAY_S
    assert await harness.field("counts:acme", "allocated") == "1"


async def test_a_failed_shipment_is_listed(harness: Harness) -> None:
    """A failed shipment has its event and reason, and is among its merchant's failures until its record expires."""
    claim = await harness.claim("acme", "a")
    await harness.raw.zadd("allocation:failed:acme", {"expired": 1})
    await harness.report(claim, "failed", event="the event", reason="conflict")
    assert await events(harness, harness.settings.failed_stream) == ["the event"]
    assert await harness.raw.zrange("allocation:failed:acme", 0, -1) == [b"a"]
    assert await harness.field("shipment:acme:a", "reason") == "conflict"
    assert await harness.raw.ttl("allocation:shipment:acme:a") > 0


async def test_an_event_is_published_once(harness: Harness) -> None:
    """A second report of a settled shipment is rejected, and no second event is published."""
    claim = await harness.claim("acme", "a")
    assert await harness.report(claim, "allocated", event="first") == [True]
    assert await harness.report(claim, "failed", event="second", reason="conflict") == [False]
    assert await events(harness, harness.settings.allocated_stream) == ["first"]
    assert await events(harness, harness.settings.failed_stream) == []


@pytest.mark.parametrize("first", ["park", "allocated", "failed"])
async def test_two_reports_in_one_round_trip(harness: Harness, first: Any) -> None:
    """Of two reports of a shipment in one round trip only the first counts, if it ends the lease."""
    claim = await harness.claim("acme", "a")
    fields: dict[str, Any] = {"shipment": claim.shipments[0], "lease_token": claim.lease_token, "event": "the event"}
    reports = [Report(verdict=first, **fields), Report(verdict="allocated", **fields), Report(verdict="park", **fields)]
    assert await harness.ledger.report_all(reports) == [True, False, False]
    out = await events(harness, harness.settings.allocated_stream) + await events(
        harness, harness.settings.failed_stream
    )
    assert out == ([] if first == "park" else ["the event"])
    assert await harness.raw.zcard("allocation:schedule:acme") == (1 if first == "park" else 0)


@pytest.mark.parametrize("first", ["keep", "hand"])
async def test_the_last_report_counts(harness: Harness, first: Any) -> None:
    """A stopping task may report `keep` and a release in one round trip: then the shipment has no owner."""
    # Many merchants, as concurrent reports are written in hash order of their keys.
    for merchant in (f"merchant{n}" for n in range(30)):
        claim = await harness.claim(merchant, "a", "b")
        leaves, given_back = (
            Report(shipment=s, lease_token=claim.lease_token, verdict="park") for s in claim.shipments
        )
        reports = [leaves, given_back._replace(verdict=first), given_back]
        assert await harness.ledger.report_all(reports) == [True] * 3
        assert await harness.raw.zcard(f"allocation:schedule:{merchant}") == 2
        assert await harness.raw.zcard(f"allocation:working:{merchant}") == 0
        assert await harness.raw.hlen(f"allocation:lease_tokens:{merchant}") == 0


async def test_a_late_release_does_not_affect_a_link(harness: Harness) -> None:
    """Shipments passed to the next link stay with it, also when their task is stopped and releases all it had."""
    claim = await harness.claim("acme", "a")
    refused = [claim.shipments[0].with_progress(step=1)]
    assert await harness.report_of(refused, claim.lease_token, "hand") == [True]
    assert await harness.report(claim, "park") == [False]
    assert await harness.report_of(refused, claim.lease_token, "hand") == [True]
    assert await harness.phase("acme", "a") == "q"


async def test_more_reports_than_one_round_trip_takes(harness: Harness) -> None:
    """Reports of several merchants, more than fit into a round trip, are all written, with results in order."""
    reports: list[Report] = []
    for merchant, count in (("acme", 100), ("other", 30), ("third", 1)):
        claim = await harness.claim(merchant, *(f"sp_{n}" for n in range(count)))
        reports += [
            Report(shipment=s, lease_token=claim.lease_token, verdict="allocated", event="e") for s in claim.shipments
        ]
    ignored = reports[7]._replace(lease_token="another-task")
    assert await harness.ledger.report_all([ignored, *reports]) == [False] + [True] * 131
    assert [await harness.field(f"counts:{name}", "allocated") for name in ("acme", "other", "third")] == [
        "100",
        "30",
        "1",
    ]
    assert len(await events(harness, harness.settings.allocated_stream)) == 131
    assert [await harness.raw.hlen(f"allocation:lease_tokens:{name}") for name in ("acme", "other", "third")] == [
        0,
        0,
        0,
    ]


@pytest.mark.parametrize("verdict", ["keep", "hand", "park", "allocated", "failed"])
async def test_a_late_task_changes_nothing(harness: Harness, verdict: Any) -> None:
    """The late report of a task that lost its lease only shows that its worker is alive."""
    late = await harness.claim("acme", "a")
    await harness.expire_leases("acme")
    (now,) = await harness.claim_all()
    await harness.ledger.renew([(late.shipments[0], late.lease_token)])
    before = await harness.dump()
    fields = await harness.report(late, verdict, entry={"action": "allocate"}, event="late", reason="conflict", due=1.0)
    assert fields == [False]
    assert await harness.dump() == before
    assert await harness.report(now, "allocated", event="in time") == [True]


async def test_settling_is_atomic(settings: Settings, harness: Harness) -> None:
    """At no time is a shipment neither scheduled nor published, and at none is it both."""
    references = [f"sp_{n}" for n in range(100)]
    claim = await harness.claim("acme", *references)
    watcher = Harness(settings)
    settling = asyncio.gather(
        *(harness.report_of([one], claim.lease_token, "allocated", event="{}") for one in claim.shipments)
    )
    seen = set()
    while not settling.done():
        pipe = watcher.raw.pipeline(transaction=True)
        pipe.zcard("allocation:working:acme")
        pipe.xlen(settings.allocated_stream)
        seen.add(sum(await pipe.execute()))
    await settling
    await watcher.close()
    assert seen == {100}


async def test_progress_survives_its_worker(harness: Harness) -> None:
    """Reported progress is available to the next owner of the shipment."""
    claim = await harness.claim("acme", "a")
    with_changes = claim.shipments[0].with_progress(step=1, attempts=3, open_calls=2, waits=4, last_refusal="conflict")
    await harness.report_of([with_changes], claim.lease_token, "park")
    (again,) = await harness.claim_all()
    assert again.shipments[0].progress == with_changes.progress
    assert str(again.shipments[0].strategy) == "carrier_service SECOND"


async def test_unfinished_records_do_not_expire(harness: Harness) -> None:
    """No record of a shipment expires before it is settled, whatever the reports."""
    claim = await harness.claim("acme", "a")
    for verdict in ("keep", "hand", "park"):
        await harness.report(claim, verdict, due=harness.ledger.now() + 3600)
        assert await harness.raw.ttl("allocation:shipment:acme:a") == -1


@pytest.mark.parametrize("entries", [1, 20, 21, 40, 41, 75])
async def test_history_is_bounded(harness: Harness, entries: int) -> None:
    """Of a long history the first twenty and the last twenty entries are kept, in order; of a short one all."""
    claim = await harness.claim("acme", "a")
    held = claim.shipments[0]
    for number in range(1, entries + 1):
        held = held.with_progress(entries=number)
        await harness.report_of([held], claim.lease_token, "keep", entry={"number": number})
    kept = [entry["number"] for entry in await harness.ledger.history(held)]
    wanted = range(1, entries + 1)
    assert kept == [*wanted[:20], *wanted[20:][-20:]]


async def test_an_empty_history(harness: Harness) -> None:
    """A shipment without reports has no history."""
    claim = await harness.claim("acme", "a")
    assert await harness.ledger.history(claim.shipments[0]) == []


async def test_concurrent_reports(harness: Harness) -> None:
    """Each of hundreds of concurrent reports gets its own result."""
    first = await harness.claim("acme", *(f"sp_{n}" for n in range(100)))
    other = await harness.claim("other", *(f"sp_{n}" for n in range(100)))
    settled, stale, kept = await asyncio.gather(
        harness.report(first, "allocated", event="{}"),
        harness.report_of(other.shipments, "a stale task", "allocated", event="{}"),
        harness.report_of(other.shipments, other.lease_token, "keep"),
    )
    assert (settled, stale, kept) == ([True] * 100, [False] * 100, [True] * 100)
    assert await harness.raw.xlen(harness.settings.allocated_stream) == 100


@pytest.mark.parametrize("stream", ["allocated_stream", "failed_stream"])
async def test_a_key_of_another_type(harness: Harness, stream: str) -> None:
    """If the name of an output stream belongs to a key of another type, nothing is written, nor are earlier reports."""
    claim = await harness.claim("acme", "a", "b")
    await harness.raw.set(getattr(harness.settings, stream), "something else")
    before = await harness.dump()
    goes_on, settled = (
        Report(shipment=s, lease_token=claim.lease_token, verdict="keep", event="{}") for s in claim.shipments
    )
    verdict: Any = "allocated" if stream == "allocated_stream" else "failed"
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await harness.ledger.report_all([goes_on, settled._replace(verdict=verdict)])
    assert await harness.dump() == before


async def test_a_full_server(harness: Harness) -> None:
    """Without memory a report changes nothing and waits; it is written completely once there is memory."""
    claim = await harness.claim("acme", "a")
    before = await harness.dump()
    await harness.raw.config_set("maxmemory", 1)
    try:
        writing = asyncio.create_task(harness.report(claim, "allocated", event="{}"))
        await until(lambda: harness.store._trouble_since is not None)
        assert await harness.dump() == before
    finally:
        await harness.raw.config_set("maxmemory", 0)
    assert await writing == [True]
    assert await events(harness, harness.settings.allocated_stream) == ["{}"]
