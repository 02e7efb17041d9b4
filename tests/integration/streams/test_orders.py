"""The orders stream: many intakes share it, none loses an entry, and it is cut only behind everybody."""

from tasks.rules.order import MAX_EVENT_BYTES
from tests.factories.ledger_harness import Harness
from worker.streams.orders import (
    DELIVERED_OFTEN,
    GROUP,
    READ_BYTES,
    RECLAIMED_AT_ONCE,
    Entry,
    OrdersStream,
    ReclaimedEntries,
)

STREAM = "orders.created"


async def publish(harness: Harness, count: int) -> None:
    """Put numbered events on the stream."""
    pipe = harness.raw.pipeline(transaction=False)
    for number in range(count):
        pipe.xadd(STREAM, {"event": str(number)})
    await pipe.execute()


def numbers(entries: list[tuple[str, dict[bytes, bytes]]]) -> list[int]:
    """The numbers of events."""
    return [int(fields[b"event"]) for _, fields in entries]


async def taken_over(orders: OrdersStream) -> list[Entry]:
    """All that another intake left."""
    return [entry async for found in orders.reclaim() for entry in found.entries]


async def left(harness: Harness) -> set[str]:
    """The ids of the entries that are still on the stream."""
    return {stream_id.decode() for stream_id, _ in await harness.raw.xrange(STREAM)}


async def test_what_was_published_before_the_first_start(harness: Harness) -> None:
    """The group begins at the very first entry, and making it again changes nothing."""
    await publish(harness, 3)
    orders = OrdersStream(harness.store, STREAM, 60)
    await orders.make_group()
    assert numbers(await orders.read()) == [0, 1, 2]
    await orders.make_group()
    await publish(harness, 1)
    assert numbers(await orders.read()) == [0]


async def test_a_stream_that_is_not_there_yet(harness: Harness) -> None:
    """An intake may start before the first event."""
    orders = OrdersStream(harness.store, STREAM, 60)
    await orders.make_group()
    await publish(harness, 1)
    assert numbers(await orders.read()) == [0]


async def test_intakes_share_the_stream(harness: Harness) -> None:
    """Each entry is read by one of the intakes, in the order of the stream."""
    intakes = [OrdersStream(harness.store, STREAM, 60) for _ in range(2)]
    assert intakes[0].consumer != intakes[1].consumer
    await intakes[0].make_group()
    await publish(harness, 500)
    found = [number for turn in range(4) for number in numbers(await intakes[turn % 2].read())]
    assert found == list(range(500))


async def test_what_a_dead_intake_left(harness: Harness) -> None:
    """Entries that lie unacknowledged for a lease are taken over by another intake, and not before."""
    await publish(harness, 3)
    dead, other = OrdersStream(harness.store, STREAM, 60), OrdersStream(harness.store, STREAM, 60)
    await dead.make_group()
    ids = [stream_id for stream_id, _ in await dead.read()]
    assert await taken_over(other) == []
    await harness.raw.xclaim(STREAM, GROUP, dead.consumer, 0, ids, idle=61_000)
    assert numbers(await taken_over(other)) == [0, 1, 2]
    assert await taken_over(other) == []


async def test_a_read_has_few_bytes(harness: Harness) -> None:
    """However large the entries are, and however many: a read brings what an intake can hold, and the next one more."""
    for _ in range(40):
        await harness.raw.xadd(STREAM, {"event": b"x" * 1_000_000})
    orders = OrdersStream(harness.store, STREAM, 60)
    await orders.make_group()
    sizes = []
    while found := await orders.read():
        sizes.append(sum(len(fields[b"event"]) for _, fields in found))
    assert sum(sizes) == 40_000_000
    assert max(sizes) < READ_BYTES + 20_000_000


async def test_a_value_that_is_too_large_is_cut(harness: Harness) -> None:
    """Of an event that is too large no more is read than tells so, at first and when it is taken over."""
    dead = OrdersStream(harness.store, STREAM, 60)
    await dead.make_group()
    await publish(harness, 16)
    await dead.read()
    await harness.raw.xadd(STREAM, {"event": b"x" * 5_000_000, "more": b"y" * 3_000_000})
    ((_, fields),) = await dead.read()
    assert {name: len(value) for name, value in fields.items()} == {
        b"event": MAX_EVENT_BYTES + 1,
        b"more": MAX_EVENT_BYTES + 1,
    }
    *_, (_, fields) = await taken_over(OrdersStream(harness.store, STREAM, 0))
    assert len(fields[b"event"]) == MAX_EVENT_BYTES + 1


async def portions_of(orders: OrdersStream) -> list[ReclaimedEntries]:
    """What is taken over, as it comes."""
    return [found async for found in orders.reclaim()]


async def test_what_was_delivered_often_is_taken_over_alone(harness: Harness) -> None:
    """Entries are taken over a few at a time, and one by one when that did not help."""
    await publish(harness, 20)
    dead = OrdersStream(harness.store, STREAM, 60)
    await dead.make_group()
    await dead.read()
    await dead.read()
    for _ in range(DELIVERED_OFTEN - 1):
        found = await portions_of(OrdersStream(harness.store, STREAM, 0))
        assert [(len(each.entries), each.alone) for each in found] == [(RECLAIMED_AT_ONCE, False), (4, False)]
    found = await portions_of(OrdersStream(harness.store, STREAM, 0))
    assert [(len(each.entries), each.alone) for each in found] == [(1, True)] * 20
    assert sorted(numbers([entry for each in found for entry in each.entries])) == list(range(20))


async def test_intakes_that_ended_with_an_entry(harness: Harness) -> None:
    """Who had an entry alone in hand is remembered until it is done, each intake once."""
    first, second, third = (OrdersStream(harness.store, STREAM, 60) for _ in range(3))
    assert [await each.ended_with("1-1") for each in (first, first, second, third)] == [0, 0, 1, 2]
    assert await first.ended_with("1-2") == 0
    await third.is_done("1-1")
    assert await second.ended_with("1-1") == 0


async def test_who_was_interrupted_did_not_end(harness: Harness) -> None:
    """A server that was away ends no intake: whoever comes back is not counted any more."""
    first, second = (OrdersStream(harness.store, STREAM, 60) for _ in range(2))
    await first.make_group()
    assert await first.ended_with("1-1") == 0
    await portions_of(first)
    assert await second.ended_with("1-1") == 0


async def test_what_is_gone_is_told(harness: Harness) -> None:
    """An entry that was read, and trimmed before it was taken, is named once, and is pending no more."""
    await publish(harness, 3)
    dead = OrdersStream(harness.store, STREAM, 60)
    await dead.make_group()
    read = await dead.read()
    await harness.raw.xtrim(STREAM, maxlen=1, approximate=False)
    (found,) = await portions_of(OrdersStream(harness.store, STREAM, 0))
    assert found.lost == [stream_id for stream_id, _ in read[:2]]
    assert numbers(found.entries) == [2]
    assert (await harness.raw.xpending(STREAM, GROUP))["pending"] == 1
    assert await harness.raw.get("allocation:lost_orders") == b"2"


async def test_an_entry_that_was_deleted_meanwhile(harness: Harness) -> None:
    """What somebody deleted from the stream is not taken over, and does not stand in the way."""
    await publish(harness, 2)
    dead = OrdersStream(harness.store, STREAM, 60)
    await dead.make_group()
    first, _ = await dead.read()
    await harness.raw.xdel(STREAM, first[0])
    assert numbers(await taken_over(OrdersStream(harness.store, STREAM, 0))) == [1]


async def test_who_leaves_in_order(harness: Harness) -> None:
    """An intake that ends leaves the group; one that still has entries in its name stays for others to find them."""
    await publish(harness, 1)
    busy, idle = OrdersStream(harness.store, STREAM, 60), OrdersStream(harness.store, STREAM, 60)
    await busy.make_group()
    await busy.read()
    await taken_over(idle)
    await busy.leave()
    await idle.leave()
    assert [consumer["name"].decode() for consumer in await harness.raw.xinfo_consumers(STREAM, GROUP)] == [
        busy.consumer
    ]
