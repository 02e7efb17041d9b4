"""Taking orders into the ledger: all or nothing, each shipment once."""

import pytest

from tests.factories.ledger_harness import Harness, new
from worker.ledger.stream_arguments import RejectedRow
from worker.redis_client.store import ResponseError
from worker.streams.orders import GROUP, OrdersStream

REJECTED = RejectedRow(stream_id="1-1", event="{", reason="bad_json", error="no JSON")


async def published(harness: Harness, count: int) -> list[str]:
    """The ids of entries that an intake has read and not yet taken."""
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
    """How many entries are read and not yet taken."""
    pending = await harness.raw.xpending(harness.settings.orders_stream, GROUP)
    return int(pending["pending"])


async def test_the_bytes_of_a_rejected_event_are_kept(harness: Harness) -> None:
    """An event that is not UTF-8 has a field more than others."""
    binary = RejectedRow(stream_id="1-2", event="\ufffd", reason="bad_json", error="no JSON", event_base64="/w==")
    await harness.ledger.accept([], [REJECTED, binary], [], GROUP)
    entries = await harness.raw.xrange(harness.settings.rejected_stream)
    assert [fields.get(b"event_base64") for _, fields in entries] == [None, b"/w=="]
    assert [fields[b"stream_id"] for _, fields in entries] == [b"1-1", b"1-2"]


async def test_a_shipment_is_taken_once(harness: Harness) -> None:
    """What the ledger knows is a duplicate, and stays as it is down to the last byte."""
    assert await harness.accept("acme", "a", "b") == 2
    before = await harness.dump()
    assert await harness.accept("acme", "b", "a") == 0
    assert await harness.dump() == before


async def test_a_repeated_event_may_bring_a_new_shipment(harness: Harness) -> None:
    """Duplicates are decided by shipment, so that the new one among known ones is taken."""
    await harness.accept("acme", "a")
    assert await harness.accept("acme", "a", "b", "a", "b") == 1


async def test_the_same_reference_of_two_merchants(harness: Harness) -> None:
    """Merchant and reference together are a shipment."""
    assert (await harness.ledger.accept([*new("acme", "a"), *new("other", "a")], [], [], GROUP))[0] == 2


async def test_a_settled_shipment_is_no_new_one(harness: Harness) -> None:
    """An event that comes again after the shipment was allocated changes nothing."""
    await harness.report(await harness.claim("acme", "a"), "allocated", event="{}")
    assert await harness.accept("acme", "a") == 0
    assert await harness.claim_all() == []


async def test_taken_entries_are_acknowledged(harness: Harness) -> None:
    """A read is acknowledged whole, however many entries it has."""
    ids = await published(harness, 1200)
    await harness.ledger.accept(new("acme", "a"), [REJECTED], ids[:-1], GROUP)
    assert await unacknowledged(harness) == 1


async def test_a_rejected_event_keeps_its_text(harness: Harness) -> None:
    """The rejected stream has the event's text, the reason, the error and where the event came from."""
    await harness.ledger.accept([], [REJECTED], [], GROUP, ignored=3)
    ((_, entry),) = await harness.raw.xrange(harness.settings.rejected_stream)
    assert entry == {b"event": b"{", b"reason": b"bad_json", b"error": b"no JSON", b"stream_id": b"1-1"}
    assert await harness.raw.get("allocation:ignored_events") == b"3"


async def test_a_full_server_takes_nothing(harness: Harness) -> None:
    """Without memory a read is neither half taken nor acknowledged, and it is taken whole once there is some."""
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
async def test_a_stream_that_is_none(harness: Harness, stream: str) -> None:
    """When the name of one of the streams belongs to something else, nothing is half taken."""
    ids = await published(harness, 2)
    await harness.raw.set(getattr(harness.settings, stream), "something else")
    before = await harness.dump()
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await harness.ledger.accept(new("acme", "a"), [REJECTED], ids, GROUP)
    assert await harness.dump() == before


async def test_what_an_order_is_known_by(harness: Harness) -> None:
    """The record says when the order came into being, and how often the server had changed when it was accepted."""
    await harness.simulate_server_change()
    (accepted,) = new("acme", "a")
    await harness.ledger.accept([accepted._replace(earliest_at=1.5)], [], [], GROUP)
    assert await harness.raw.hmget("allocation:shipment:acme:a", "earliest_at", "epoch") == [b"1500", b"1"]
