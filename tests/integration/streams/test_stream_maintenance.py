"""Maintenance of the orders stream: trimming, removal of consumers, and detection of lost entries."""

import random
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.factories.ledger_harness import Harness
from tests.integration.streams.test_orders import STREAM, publish, remaining
from worker.ledger.records import server_ms
from worker.streams.orders import GROUP, OrdersStream
from worker.streams.upkeep import GONE_S, keep_orders, tell_of_lost, trim_orders

LATER_MS = 4_000_000_000_000


async def logged_losses(harness: Harness) -> list[tuple[int, str, str]]:
    """The logged losses: the number of entries, and the ids around them."""
    with capture_logs() as logged:
        await tell_of_lost(harness.store, harness.settings)
    return [(line["entries"], line["after"], line["up_to"]) for line in logged if line["event"] == "orders_lost"]


async def ids(harness: Harness) -> list[str]:
    """The entries of the orders stream."""
    return [stream_id.decode() for stream_id, _ in await harness.raw.xrange(STREAM)]


async def read_and_accept(harness: Harness, intake: OrdersStream) -> int:
    """Read once and accept the entries; returns their number."""
    entries = await intake.read()
    await harness.ledger.accept([], [], [stream_id for stream_id, _ in entries], GROUP)
    return len(entries)


async def lost_orders(harness: Harness) -> int:
    """The number that `status` shows."""
    return int(await harness.raw.get("allocation:lost_orders") or 0)


async def test_entries_that_were_trimmed_unread(harness: Harness) -> None:
    """They are reported once, with the ids around them, whatever is read and acknowledged afterwards."""
    intake = OrdersStream(harness.store, STREAM, 60)
    await intake.make_group()
    assert await logged_losses(harness) == []
    await publish(harness, 10)
    while await read_and_accept(harness, intake) > 0 and (await harness.raw.xpending(STREAM, GROUP))["pending"]:
        pass
    assert await logged_losses(harness) == []
    await publish(harness, 7)
    before = (await ids(harness))[9]
    await harness.raw.xtrim(STREAM, maxlen=3, approximate=False)
    first = (await ids(harness))[0]
    assert await logged_losses(harness) == [(4, before, first)]
    assert await logged_losses(harness) == []
    assert await read_and_accept(harness, intake) == 3
    assert await logged_losses(harness) == []
    await publish(harness, 2)
    await harness.raw.xtrim(STREAM, maxlen=0, approximate=False)
    assert [missing for missing, _, _ in await logged_losses(harness)] == [2]
    await publish(harness, 5)
    assert await read_and_accept(harness, intake) == 5
    assert (await logged_losses(harness), await lost_orders(harness)) == ([], 6)
    kept_s = harness.settings.keep_days * 86_400
    assert kept_s - 60 < await harness.raw.ttl("allocation:lost_orders") <= kept_s


async def test_a_group_that_was_created_after_orders(harness: Harness) -> None:
    """Entries from before a group that was created with `$` are reported; so are those that a SETID skips."""
    await publish(harness, 4)
    await harness.raw.xgroup_create(STREAM, GROUP, id="$")
    intake = OrdersStream(harness.store, STREAM, 60)
    await intake.make_group()
    last = (await ids(harness))[-1]
    assert await logged_losses(harness) == [(4, "0-0", last)]
    await publish(harness, 3)
    await harness.raw.xgroup_setid(STREAM, GROUP, "$")
    assert [missing for missing, _, _ in await logged_losses(harness)] == [3]
    assert await lost_orders(harness) == 7


async def test_a_group_that_was_set_back(harness: Harness) -> None:
    """A group that was set back to missed or accepted entries reads them; later losses are detected again."""
    await publish(harness, 4)
    await harness.raw.xgroup_create(STREAM, GROUP, id="$")
    intake = OrdersStream(harness.store, STREAM, 60)
    assert len(await logged_losses(harness)) == 1
    await harness.raw.xgroup_setid(STREAM, GROUP, "0")
    assert await logged_losses(harness) == []
    assert await read_and_accept(harness, intake) == 4
    assert await logged_losses(harness) == []
    await publish(harness, 2)
    await harness.raw.xtrim(STREAM, maxlen=1, approximate=False)
    assert [missing for missing, _, _ in await logged_losses(harness)] == [1]


@pytest.mark.parametrize("seed", range(10))
async def test_no_report_without_a_loss(harness: Harness, seed: int) -> None:
    """Whatever intakes read, reclaim and acknowledge, and whatever is trimmed: without a loss, nothing is reported."""
    chance = random.Random(seed)  # noqa: S311
    intakes = [OrdersStream(harness.store, STREAM, 0) for _ in range(3)]
    await intakes[0].make_group()
    for _ in range(30):
        match chance.randrange(5):
            case 0:
                await publish(harness, chance.randint(1, 40))
            case 1 if await harness.raw.xlen(STREAM):
                await harness.raw.xreadgroup(GROUP, "stuck", {STREAM: ">"}, count=chance.randint(1, 9))
            case 2:
                async for found in chance.choice(intakes).reclaim():
                    done = [stream_id for stream_id, _ in found.entries]
                    await harness.ledger.accept([], [], done, GROUP)
            case 3:
                await trim_orders(harness.redis, STREAM, LATER_MS)
            case _:
                assert await logged_losses(harness) == []
    assert (await logged_losses(harness), await lost_orders(harness)) == ([], 0)


async def test_silent_consumers(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer that is silent for a long time is removed, unless it has pending entries."""
    await publish(harness, 1)
    busy, idle = OrdersStream(harness.store, STREAM, 60), OrdersStream(harness.store, STREAM, 60)
    await busy.make_group()
    await busy.read()
    [_ async for _ in idle.reclaim()]
    now_ms = await server_ms(harness.redis)
    await keep_orders(harness.store, harness.settings, now_ms)
    assert len(await harness.raw.xinfo_consumers(STREAM, GROUP)) == 2
    monkeypatch.setattr("worker.streams.upkeep.GONE_S", -GONE_S)
    await keep_orders(harness.store, harness.settings.model_copy(update={"lease_seconds": -1.0}), now_ms)
    assert [each["name"].decode() for each in await harness.raw.xinfo_consumers(STREAM, GROUP)] == [busy.consumer]


async def test_recent_orders_are_kept(harness: Harness) -> None:
    """Entries younger than the settings require are kept, although every group has read them."""
    await publish(harness, 600)
    await harness.raw.xgroup_create(STREAM, "readers", id="$")
    await keep_orders(harness.store, harness.settings, await server_ms(harness.redis))
    assert await harness.raw.xlen(STREAM) == 600
    await keep_orders(harness.store, harness.settings, LATER_MS)
    assert await harness.raw.xlen(STREAM) < 600


@pytest.mark.parametrize("seed", range(6))
async def test_trimming_keeps_needed_entries(harness: Harness, seed: int) -> None:
    """Undelivered and unacknowledged entries of any group are kept."""
    chance = random.Random(seed)  # noqa: S311
    await publish(harness, 600)
    needed: set[str] = set()
    for group in ("allocation", "audit", "search")[: chance.randint(1, 3)]:
        needed |= await read_some(harness, group, chance)
    await trim_orders(harness.redis, STREAM, LATER_MS)
    assert needed <= await remaining(harness)


async def read_some(harness: Harness, group: str, chance: random.Random) -> set[str]:
    """Let a group read some entries and acknowledge most of them; returns those it still needs."""
    everything = await remaining(harness)
    await harness.raw.xgroup_create(STREAM, group, id="0")
    count = chance.choice([0, 1, 350, 600])
    reply: Any = await harness.raw.xreadgroup(group, "one", {STREAM: ">"}, count=count) if count else []
    read = [stream_id for _, entries in reply for stream_id, _ in entries]
    done = read[chance.choice([0, 0, 1, 250]) :]
    if done:
        await harness.raw.xack(STREAM, group, *done)
    return everything - {stream_id.decode() for stream_id in done}


async def test_trimming_removes_entries_read_by_all(harness: Harness) -> None:
    """Entries that every group has read and acknowledged are removed, in the steps of the server's storage."""
    await publish(harness, 600)
    for group in ("allocation", "audit"):
        await harness.raw.xgroup_create(STREAM, group, id="0")
        ((_, entries),) = await harness.raw.xreadgroup(group, "one", {STREAM: ">"}, count=350)
        await harness.raw.xack(STREAM, group, *(stream_id for stream_id, _ in entries))
    await trim_orders(harness.redis, STREAM, LATER_MS)
    assert 250 <= await harness.raw.xlen(STREAM) <= 350


async def test_a_stream_without_readers(harness: Harness) -> None:
    """Without a group nothing is trimmed, and a missing stream is no error."""
    await trim_orders(harness.redis, STREAM, LATER_MS)
    await publish(harness, 300)
    await trim_orders(harness.redis, STREAM, LATER_MS)
    assert await harness.raw.xlen(STREAM) == 300
