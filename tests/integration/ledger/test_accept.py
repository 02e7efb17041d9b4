"""Accepting orders: all or nothing, each shipment once."""

import pytest

from tests.factories.ledger_harness import Harness, new
from worker.ledger.stream_arguments import RejectedRow
from worker.redis_client.store import ResponseError
from worker.streams.orders import GROUP, OrdersStream

REJECTED = RejectedRow(stream_id="1-1", event="{", reason="bad_json", error="no JSON")


async def published(harness: Harness, count: int) -> list[str]:
    """The ids of entries that an intake has read and not yet accepted."""
    stream = harness.settings.orders_stream
    pipe = harness.raw.pipeline(transaction=False)
    for number in range(count):
        pipe.xadd(stream, {"event": str(number)})
    await pipe.execute()
    orders = OrdersStream(harness.store, stream, harness.settings.lease_seconds)
    await orders.make_group()
    ids: list[str] = []
    while len(ids) < count:
        ids += [stream_id for stream_id, _ in await orders.read()]
    return ids


async def unacknowledged(harness: Harness) -> int:
    """Number of entries that were read and not yet accepted."""
    pending = await harness.raw.xpending(harness.settings.orders_stream, GROUP)
    return int(pending["pending"])


async def test_the_bytes_of_a_rejected_event_are_kept(harness: Harness) -> None:
    """An event that is not UTF-8 has an additional field."""
    binary = RejectedRow(stream_id="1-2", event="\ufffd", reason="bad_json", error="no JSON", event_base64="/w==")
    await harness.ledger.accept([], [REJECTED, binary], [], GROUP)
    entries = await harness.raw.xrange(harness.settings.rejected_stream)
    assert [fields.get(b"event_base64") for _, fields in entries] == [None, b"/w=="]
    assert [fields[b"stream_id"] for _, fields in entries] == [b"1-1", b"1-2"]


async def test_a_shipment_is_accepted_once(harness: Harness) -> None:
    """A known shipment is a duplicate, and its record is unchanged."""
    assert await harness.accept("acme", "a", "b") == 2
    before = await harness.dump()
    assert await harness.accept("acme", "b", "a") == 0
    assert await harness.dump() == before


async def test_a_repeated_event_may_bring_a_new_shipment(harness: Harness) -> None:
    """Duplicates are detected by shipment, so that a new one among known ones is accepted."""
    await harness.accept("acme", "a")
    assert await harness.accept("acme", "a", "b", "a", "b") == 1


async def test_the_same_reference_of_two_merchants(harness: Harness) -> None:
    """A shipment is identified by merchant and reference."""
    assert (await harness.ledger.accept([*new("acme", "a"), *new("other", "a")], [], [], GROUP))[0] == 2


async def test_a_settled_shipment_is_a_duplicate(harness: Harness) -> None:
    """A repeated event of an allocated shipment changes nothing."""
    await harness.report(await harness.claim("acme", "a"), "allocated", event="{}")
    assert await harness.accept("acme", "a") == 0
    assert await harness.claim_all() == []


async def test_accepted_entries_are_acknowledged(harness: Harness) -> None:
    """All entries of a read are acknowledged, whatever their number."""
    ids = await published(harness, 1200)
    await harness.ledger.accept(new("acme", "a"), [REJECTED], ids[:-1], GROUP)
    assert await unacknowledged(harness) == 1


async def test_a_rejected_event_keeps_its_text(harness: Harness) -> None:
    """An entry of the rejected stream has the event's text, the reason, the error and the source entry."""
    await harness.ledger.accept([], [REJECTED], [], GROUP, ignored=3)
    ((_, entry),) = await harness.raw.xrange(harness.settings.rejected_stream)
    assert entry == {b"event": b"{", b"reason": b"bad_json", b"error": b"no JSON", b"stream_id": b"1-1"}
    assert await harness.raw.get("allocation:ignored_events") == b"3"


async def test_a_full_server_accepts_nothing(harness: Harness) -> None:
    """Without memory a read is neither partly accepted nor acknowledged; it is accepted once there is memory."""
    ids = await published(harness, 2)
    before = await harness.dump()
    await harness.raw.config_set("maxmemory", 1)
    try:
        with pytest.raises(ResponseError, match="maxmemory"):
            await harness.ledger.accept(new("acme", "a"), [REJECTED], ids, GROUP, 1)
    finally:
        await harness.raw.config_set("maxmemory", 0)
    assert await harness.dump() == before
    assert (await harness.ledger.accept(new("acme", "a"), [REJECTED], ids, GROUP, 1))[0] == 1


@pytest.mark.parametrize("stream", ["orders_stream", "rejected_stream"])
async def test_a_key_of_another_type(harness: Harness, stream: str) -> None:
    """If the name of a stream belongs to a key of another type, nothing is partly accepted."""
    ids = await published(harness, 2)
    await harness.raw.set(getattr(harness.settings, stream), "something else")
    before = await harness.dump()
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await harness.ledger.accept(new("acme", "a"), [REJECTED], ids, GROUP)
    assert await harness.dump() == before


async def test_the_record_of_an_order(harness: Harness) -> None:
    """The record contains the time of the order, and the epoch in which it was accepted."""
    await harness.simulate_server_change()
    (accepted,) = new("acme", "a")
    await harness.ledger.accept([accepted._replace(earliest_at=1.5)], [], [], GROUP)
    assert await harness.raw.hmget("allocation:shipment:acme:a", "earliest_at", "epoch") == [b"1500", b"1"]
