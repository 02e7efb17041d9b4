"""The orders stream: several intakes share it, none loses an entry, and it is trimmed behind all readers."""

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
    """Add numbered events to the stream."""
    pipe = harness.raw.pipeline(transaction=False)
    for number in range(count):
        pipe.xadd(STREAM, {"event": str(number)})
    await pipe.execute()


def numbers(entries: list[tuple[str, dict[bytes, bytes]]]) -> list[int]:
    """The numbers of events."""
    return [int(fields[b"event"]) for _, fields in entries]


async def reclaimed(orders: OrdersStream) -> list[Entry]:
    """Every entry that another intake left."""
    return [entry async for found in orders.reclaim() for entry in found.entries]


async def remaining(harness: Harness) -> set[str]:
    """The ids of the entries that are still in the stream."""
    return {stream_id.decode() for stream_id, _ in await harness.raw.xrange(STREAM)}


async def test_entries_from_before_the_first_start(harness: Harness) -> None:
    """The group begins at the first entry, and creating it again changes nothing."""
    await publish(harness, 3)
    orders = OrdersStream(harness.store, STREAM, 60)
    await orders.make_group()
    assert numbers(await orders.read()) == [0, 1, 2]
    await orders.make_group()
    await publish(harness, 1)
    assert numbers(await orders.read()) == [0]


async def test_a_missing_stream(harness: Harness) -> None:
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


async def test_entries_of_a_dead_intake(harness: Harness) -> None:
    """Entries that were not acknowledged for a lease are reclaimed by another intake, and not before."""
    await publish(harness, 3)
    dead, other = OrdersStream(harness.store, STREAM, 60), OrdersStream(harness.store, STREAM, 60)
    await dead.make_group()
    ids = [stream_id for stream_id, _ in await dead.read()]
    assert await reclaimed(other) == []
    await harness.raw.xclaim(STREAM, GROUP, dead.consumer, 0, ids, idle=61_000)
    assert numbers(await reclaimed(other)) == [0, 1, 2]
    assert await reclaimed(other) == []


async def test_a_read_is_bounded(harness: Harness) -> None:
    """However large or many the entries are, a read returns what an intake can hold, and the next one more."""
    for _ in range(40):
        await harness.raw.xadd(STREAM, {"event": b"x" * 1_000_000})
    orders = OrdersStream(harness.store, STREAM, 60)
    await orders.make_group()
    sizes = []
    while found := await orders.read():
        sizes.append(sum(len(fields[b"event"]) for _, fields in found))
    assert sum(sizes) == 40_000_000
    assert max(sizes) < READ_BYTES + 20_000_000


async def test_a_large_value_is_truncated(harness: Harness) -> None:
    """Of an event that is too large, only the size is relevant: the rest is not read, nor when it is reclaimed."""
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
    *_, (_, fields) = await reclaimed(OrdersStream(harness.store, STREAM, 0))
    assert len(fields[b"event"]) == MAX_EVENT_BYTES + 1


async def portions_of(orders: OrdersStream) -> list[ReclaimedEntries]:
    """The reclaimed entries, portion by portion."""
    return [found async for found in orders.reclaim()]


async def test_a_frequently_delivered_entry_is_reclaimed_alone(harness: Harness) -> None:
    """Entries are reclaimed a few at a time, and one by one if that failed before."""
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


async def test_intakes_that_died_with_an_entry(harness: Harness) -> None:
    """Each intake that died with only this entry is remembered once, until the entry is done."""
    first, second, third = (OrdersStream(harness.store, STREAM, 60) for _ in range(3))
    assert [await each.ended_with("1-1") for each in (first, first, second, third)] == [0, 0, 1, 2]
    assert await first.ended_with("1-2") == 0
    await third.is_done("1-1")
    assert await second.ended_with("1-1") == 0


async def test_an_interrupted_intake_did_not_die(harness: Harness) -> None:
    """An unavailable server ends no intake: one that returns is not counted any more."""
    first, second = (OrdersStream(harness.store, STREAM, 60) for _ in range(2))
    await first.make_group()
    assert await first.ended_with("1-1") == 0
    await portions_of(first)
    assert await second.ended_with("1-1") == 0


async def test_trimmed_entries_are_reported(harness: Harness) -> None:
    """An entry that was read, and trimmed before it was accepted, is reported once, and is no longer pending."""
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


async def test_an_entry_that_was_deleted(harness: Harness) -> None:
    """An entry that was deleted from the stream is not reclaimed, and blocks nothing."""
    await publish(harness, 2)
    dead = OrdersStream(harness.store, STREAM, 60)
    await dead.make_group()
    first, _ = await dead.read()
    await harness.raw.xdel(STREAM, first[0])
    assert numbers(await reclaimed(OrdersStream(harness.store, STREAM, 0))) == [1]


async def test_a_clean_shutdown(harness: Harness) -> None:
    """An intake that shuts down leaves the group; one with pending entries stays so that others can reclaim them."""
    await publish(harness, 1)
    busy, idle = OrdersStream(harness.store, STREAM, 60), OrdersStream(harness.store, STREAM, 60)
    await busy.make_group()
    await busy.read()
    await reclaimed(idle)
    await busy.leave()
    await idle.leave()
    assert [consumer["name"].decode() for consumer in await harness.raw.xinfo_consumers(STREAM, GROUP)] == [
        busy.consumer
    ]
