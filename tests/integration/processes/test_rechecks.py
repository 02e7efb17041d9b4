"""Shipments asked for again after an open call are rechecked: the open call may have changed the carrier late."""

import pytest

from tests.factories.ledger_harness import Harness
from tests.factories.raw_api import answers, response
from tests.factories.rechecks import DUE, carried_by, changed, last_entry, look_with, settled, waits
from worker.processes.rechecks import GIVE_UP_S, Rechecks


async def test_a_first_call_is_not_rechecked(harness: Harness) -> None:
    """A shipment allocated by its first call is not rechecked."""
    await settled(harness, again=False)
    assert not await waits(harness)
    assert await changed(harness) == (0, 0)


async def test_a_repeated_call_is_rechecked_after_a_quiet_time(harness: Harness, rechecks: Rechecks) -> None:
    """It is read back after another quiet time, and not before."""
    await settled(harness)
    await harness.raw.zadd(DUE, {"acme:a": (harness.ledger.now() + 60) * 1000})
    assert await look_with(harness, rechecks, answers(carried_by("X1"))) == []
    assert await changed(harness) == (1, 0)


async def test_the_same_carrier(harness: Harness, rechecks: Rechecks) -> None:
    """It is read back once, and the recheck is in its history."""
    await settled(harness)
    assert await look_with(harness, rechecks, answers(carried_by("X1"))) == ["GET /pro/shipments/a"]
    entry = await last_entry(harness)
    assert (entry["action"], entry["outcome"], entry["message"]) == ("recheck", "same carrier", "X1")
    assert not await waits(harness)
    assert await changed(harness) == (1, 0)


async def test_another_carrier(harness: Harness, rechecks: Rechecks, capsys: pytest.CaptureFixture[str]) -> None:
    """A shipment with another carrier service is logged with both, counted, and in its history."""
    await settled(harness)
    await look_with(harness, rechecks, answers(carried_by("Y1")))
    entry = await last_entry(harness)
    assert (entry["outcome"], entry["message"]) == ("carrier changed", "Y1")
    assert await changed(harness) == (1, 1)
    assert not await waits(harness)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "carrier_changed" in line]
    assert all(word in line for word in ("acme", "X1", "Y1"))


@pytest.mark.parametrize(("told", "now"), [(None, "Y1"), ("X1", None)])
async def test_a_carrier_that_was_not_named(
    harness: Harness, rechecks: Rechecks, told: str | None, now: str | None
) -> None:
    """If one of the two responses names no carrier, neither a change nor equality is reported."""
    await settled(harness, told)
    await look_with(harness, rechecks, answers(carried_by(now)))
    assert (await last_entry(harness))["outcome"] == "carrier not named"
    assert await changed(harness) == (1, 0)


async def test_no_response_is_retried(harness: Harness, rechecks: Rechecks) -> None:
    """Without a response it is read back again a minute later."""
    await settled(harness)
    for _ in range(2):
        await harness.raw.zadd(DUE, {"acme:a": 1})
        assert len(await look_with(harness, rechecks, answers(response(500)))) == 1
        waits_s = await harness.raw.zscore(DUE, "acme:a") / 1000 - harness.ledger.now()
        assert waits_s == pytest.approx(60, abs=3)
    assert (await last_entry(harness))["action"] == "allocate"


async def test_it_gives_up_after_an_hour(harness: Harness, rechecks: Rechecks) -> None:
    """A shipment that cannot be read back for an hour after its due time is rechecked no more."""
    await settled(harness)
    record = "allocation:shipment:acme:a"
    now_ms = int(await harness.raw.hget(record, "settled"))
    ((entry_id, entry),) = await harness.raw.xrange(harness.settings.allocated_stream)
    await harness.raw.xdel(harness.settings.allocated_stream, entry_id)
    for age_s, left in ((GIVE_UP_S - 10, True), (GIVE_UP_S + 70, False)):
        await harness.raw.delete(harness.settings.allocated_stream)
        settled_ms = now_ms - round(age_s * 1000)
        await harness.raw.hset(record, "settled", settled_ms)
        await harness.raw.xadd(harness.settings.allocated_stream, entry, id=f"{settled_ms}-0")
        await harness.raw.zadd(DUE, {"acme:a": 1})
        await look_with(harness, rechecks, answers(response(500)))
        assert await waits(harness) == left


async def test_an_event_that_is_deleted(harness: Harness, rechecks: Rechecks) -> None:
    """Without the published event there is nothing to compare."""
    await settled(harness)
    await harness.raw.delete(harness.settings.allocated_stream)
    assert await look_with(harness, rechecks, answers(carried_by("Y1"))) == []
    assert not await waits(harness)
