"""Taking orders into the ledger: all or nothing, each shipment once."""

import pytest

from tests.factories.ledger_harness import Bench, new
from worker.ledger.scripts import Rejected
from worker.redis_client.store import ResponseError
from worker.streams.orders import GROUP, OrdersStream

REJECTED = Rejected(stream_id="1-1", event="{", reason="bad_json", error="no JSON")


async def published(bench: Bench, count: int) -> list[str]:
    """The ids of entries that an intake has read and not yet taken."""
    stream = bench.settings.orders_stream
    pipe = bench.raw.pipeline(transaction=False)
    for number in range(count):
        pipe.xadd(stream, {"event": str(number)})
    await pipe.execute()
    orders = OrdersStream(bench.store, stream, bench.settings.lease_seconds)
    await orders.make_group()
    ids: list[str] = []
    while len(ids) < count:
        ids += [stream_id for stream_id, _ in await orders.read()]
    return ids


async def unacknowledged(bench: Bench) -> int:
    """How many entries are read and not yet taken."""
    pending = await bench.raw.xpending(bench.settings.orders_stream, GROUP)
    return int(pending["pending"])


async def test_the_bytes_of_a_rejected_event_are_kept(bench: Bench) -> None:
    """An event that is not UTF-8 has a field more than others."""
    binary = Rejected(stream_id="1-2", event="\ufffd", reason="bad_json", error="no JSON", event_base64="/w==")
    await bench.ledger.accept([], [REJECTED, binary], [], GROUP)
    entries = await bench.raw.xrange(bench.settings.rejected_stream)
    assert [fields.get(b"event_base64") for _, fields in entries] == [None, b"/w=="]
    assert [fields[b"stream_id"] for _, fields in entries] == [b"1-1", b"1-2"]


async def test_a_shipment_is_taken_once(bench: Bench) -> None:
    """What the ledger knows is a duplicate, and stays as it is down to the last byte."""
    assert await bench.accept("acme", "a", "b") == 2
    before = await bench.dump()
    assert await bench.accept("acme", "b", "a") == 0
    assert await bench.dump() == before


async def test_a_repeated_event_may_bring_a_new_shipment(bench: Bench) -> None:
    """Duplicates are decided by shipment, so that the new one among known ones is taken."""
    await bench.accept("acme", "a")
    assert await bench.accept("acme", "a", "b", "a", "b") == 1


async def test_the_same_reference_of_two_merchants(bench: Bench) -> None:
    """Merchant and reference together are a shipment."""
    assert (await bench.ledger.accept([*new("acme", "a"), *new("other", "a")], [], [], GROUP))[0] == 2


async def test_a_settled_shipment_is_no_new_one(bench: Bench) -> None:
    """An event that comes again after the shipment was allocated changes nothing."""
    await bench.report(await bench.take("acme", "a"), "allocated", event="{}")
    assert await bench.accept("acme", "a") == 0
    assert await bench.take_all() == []


async def test_taken_entries_are_acknowledged(bench: Bench) -> None:
    """A read is acknowledged whole, however many entries it has."""
    ids = await published(bench, 1200)
    await bench.ledger.accept(new("acme", "a"), [REJECTED], ids[:-1], GROUP)
    assert await unacknowledged(bench) == 1


async def test_a_rejected_event_keeps_its_text(bench: Bench) -> None:
    """The rejected stream has the event's text, the reason, the error and where the event came from."""
    await bench.ledger.accept([], [REJECTED], [], GROUP, ignored=3)
    ((_, entry),) = await bench.raw.xrange(bench.settings.rejected_stream)
    assert entry == {b"event": b"{", b"reason": b"bad_json", b"error": b"no JSON", b"stream_id": b"1-1"}
    assert await bench.raw.get("allocation:not_ours") == b"3"


async def test_a_full_server_takes_nothing(bench: Bench) -> None:
    """Without memory a read is neither half taken nor acknowledged, and it is taken whole once there is some."""
    ids = await published(bench, 2)
    before = await bench.dump()
    await bench.raw.config_set("maxmemory", 1)
    try:
        with pytest.raises(ResponseError, match="maxmemory"):
            await bench.ledger.accept(new("acme", "a"), [REJECTED], ids, GROUP, 1)
    finally:
        await bench.raw.config_set("maxmemory", 0)
    assert await bench.dump() == before
    assert (await bench.ledger.accept(new("acme", "a"), [REJECTED], ids, GROUP, 1))[0] == 1


@pytest.mark.parametrize("stream", ["orders_stream", "rejected_stream"])
async def test_a_stream_that_is_none(bench: Bench, stream: str) -> None:
    """When the name of one of the streams belongs to something else, nothing is half taken."""
    ids = await published(bench, 2)
    await bench.raw.set(getattr(bench.settings, stream), "something else")
    before = await bench.dump()
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await bench.ledger.accept(new("acme", "a"), [REJECTED], ids, GROUP)
    assert await bench.dump() == before


async def test_what_an_order_is_known_by(bench: Bench) -> None:
    """The record says when the order came into being, and how often the server had changed when it was accepted."""
    await bench.become_another_server()
    (accepted,) = new("acme", "a")
    await bench.ledger.accept([accepted._replace(entered=1.5)], [], [], GROUP)
    assert await bench.raw.hmget("allocation:shipment:acme:a", "entered", "era") == [b"1500", b"1"]
