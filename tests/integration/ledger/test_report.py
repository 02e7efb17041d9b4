"""What is written about shipments: by their holder only, and the verdict in the same transaction as its event."""

import asyncio
from typing import Any

import pytest

from config.settings import Settings
from tasks.work.ports import Report
from tests.factories.ledger_harness import Harness, until
from worker.redis_client.store import ResponseError

A_DAY_S = 86400


async def events(harness: Harness, stream: str) -> list[str]:
    """The events of an out stream."""
    return [entry[b"event"].decode() for _, entry in await harness.raw.xrange(stream)]


async def test_a_settled_shipment_leaves_the_schedule(harness: Harness) -> None:
    """An allocated shipment has its event, is not due any more, and its record is kept as long as the settings say."""
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


async def test_a_failed_shipment_is_on_the_list(harness: Harness) -> None:
    """A failed shipment has its event and reason, and is among its merchant's failures until its record expires."""
    claim = await harness.claim("acme", "a")
    await harness.raw.zadd("allocation:failed:acme", {"expired": 1})
    await harness.report(claim, "failed", event="the event", reason="conflict")
    assert await events(harness, harness.settings.failed_stream) == ["the event"]
    assert await harness.raw.zrange("allocation:failed:acme", 0, -1) == [b"a"]
    assert await harness.field("shipment:acme:a", "reason") == "conflict"
    assert await harness.raw.ttl("allocation:shipment:acme:a") > 0


async def test_an_event_goes_out_once(harness: Harness) -> None:
    """Who settles a shipment a second time is told that it is not his, and no second event goes out."""
    claim = await harness.claim("acme", "a")
    assert await harness.report(claim, "allocated", event="first") == [True]
    assert await harness.report(claim, "failed", event="second", reason="conflict") == [False]
    assert await events(harness, harness.settings.allocated_stream) == ["first"]
    assert await events(harness, harness.settings.failed_stream) == []


@pytest.mark.parametrize("first", ["park", "allocated", "failed"])
async def test_two_reports_in_one_round_trip(harness: Harness, first: Any) -> None:
    """Of two reports of a shipment that travel together only the first counts, once it has let the shipment go."""
    claim = await harness.claim("acme", "a")
    told: dict[str, Any] = {"shipment": claim.shipments[0], "lease_token": claim.lease_token, "event": "the event"}
    reports = [Report(verdict=first, **told), Report(verdict="allocated", **told), Report(verdict="park", **told)]
    assert await harness.ledger.report_all(reports) == [True, False, False]
    out = await events(harness, harness.settings.allocated_stream) + await events(
        harness, harness.settings.failed_stream
    )
    assert out == ([] if first == "park" else ["the event"])
    assert await harness.raw.zcard("allocation:schedule:acme") == (1 if first == "park" else 0)


@pytest.mark.parametrize("first", ["keep", "hand"])
async def test_what_leaves_last_has_left(harness: Harness, first: Any) -> None:
    """A task that is ended may report "goes on" and "given back" in one round trip: then nobody holds the shipment."""
    # Many merchants, as what is gathered is written in the order of a hash of its keys.
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


async def test_a_late_hand_back_leaves_a_link_alone(harness: Harness) -> None:
    """What was handed to the next link stays with it, also when its task is told to end and gives back all it had."""
    claim = await harness.claim("acme", "a")
    refused = [claim.shipments[0].with_progress(step=1)]
    assert await harness.report_of(refused, claim.lease_token, "hand") == [True]
    assert await harness.report(claim, "park") == [False]
    assert await harness.report_of(refused, claim.lease_token, "hand") == [True]
    assert await harness.phase("acme", "a") == "q"


async def test_more_reports_than_one_round_trip_takes(harness: Harness) -> None:
    """Reports of several merchants, more than go at once, are all written and answered in their order."""
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
    """Of what a task reports after its lease was given to another, the ledger learns that its worker lives, no more."""
    late = await harness.claim("acme", "a")
    await harness.expire_leases("acme")
    (now,) = await harness.claim_all()
    await harness.ledger.renew([(late.shipments[0], late.lease_token)])
    before = await harness.dump()
    told = await harness.report(late, verdict, entry={"action": "allocate"}, event="late", reason="conflict", due=1.0)
    assert told == [False]
    assert await harness.dump() == before
    assert await harness.report(now, "allocated", event="in time") == [True]


async def test_settling_is_one_step(settings: Settings, harness: Harness) -> None:
    """At no moment is a shipment neither in the schedule nor told of, and at none is it both."""
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


async def test_progress_outlives_its_worker(harness: Harness) -> None:
    """What was reported on the way is there for whoever takes the shipment next."""
    claim = await harness.claim("acme", "a")
    with_changes = claim.shipments[0].with_progress(step=1, attempts=3, open_calls=2, waits=4, last_refusal="conflict")
    await harness.report_of([with_changes], claim.lease_token, "park")
    (again,) = await harness.claim_all()
    assert again.shipments[0].progress == with_changes.progress
    assert str(again.shipments[0].strategy) == "carrier_service SECOND"


async def test_unfinished_records_stay(harness: Harness) -> None:
    """No record of a shipment expires before it is settled, whatever was reported of it."""
    claim = await harness.claim("acme", "a")
    for verdict in ("keep", "hand", "park"):
        await harness.report(claim, verdict, due=harness.ledger.now() + 3600)
        assert await harness.raw.ttl("allocation:shipment:acme:a") == -1


@pytest.mark.parametrize("entries", [1, 20, 21, 40, 41, 75])
async def test_a_story_keeps_its_beginning_and_its_end(harness: Harness, entries: int) -> None:
    """Of a long story the first twenty and the last twenty entries are kept, in order; of a short one all."""
    claim = await harness.claim("acme", "a")
    held = claim.shipments[0]
    for number in range(1, entries + 1):
        held = held.with_progress(entries=number)
        await harness.report_of([held], claim.lease_token, "keep", entry={"number": number})
    kept = [entry["number"] for entry in await harness.ledger.history(held)]
    wanted = range(1, entries + 1)
    assert kept == [*wanted[:20], *wanted[20:][-20:]]


async def test_a_story_of_nothing(harness: Harness) -> None:
    """A shipment to which nothing has happened has no story."""
    claim = await harness.claim("acme", "a")
    assert await harness.ledger.history(claim.shipments[0]) == []


async def test_many_reports_at_once(harness: Harness) -> None:
    """Whoever reports beside hundreds of others gets his own answer."""
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
async def test_a_stream_that_is_none(harness: Harness, stream: str) -> None:
    """When an out stream's name belongs to something else, nothing is written, not even what was told before it."""
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


async def test_a_full_server_is_waited_for(harness: Harness) -> None:
    """Without memory a report changes nothing and waits; it is written whole once there is some."""
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
