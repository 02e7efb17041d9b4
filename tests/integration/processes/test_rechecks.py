"""Repeated calls are followed by a recheck: the open call may have changed the carrier late."""

import pytest

from tests.factories.ledger_harness import Harness
from tests.factories.raw_api import responds_with, response
from tests.factories.rechecks import (
    DUE,
    allocated_shipment,
    is_scheduled,
    last_entry,
    recheck_counts,
    recheck_with,
    response_with_carrier,
)
from worker.processes.rechecks import GIVE_UP_S, Rechecks


async def test_a_first_call_is_not_rechecked(harness: Harness) -> None:
    """A shipment allocated by its first call is not rechecked."""
    await allocated_shipment(harness, again=False)
    assert not await is_scheduled(harness)
    assert await recheck_counts(harness) == (0, 0)


async def test_a_repeated_call_is_rechecked_after_a_quiet_time(harness: Harness, rechecks: Rechecks) -> None:
    """It is read back after another quiet time, and not before."""
    await allocated_shipment(harness)
    await harness.raw.zadd(DUE, {"acme:a": (harness.ledger.now() + 60) * 1000})
    assert await recheck_with(harness, rechecks, responds_with(response_with_carrier("X1"))) == []
    assert await recheck_counts(harness) == (1, 0)


async def test_the_same_carrier(harness: Harness, rechecks: Rechecks) -> None:
    """It is read back once, and the recheck is in its history."""
    await allocated_shipment(harness)
    assert await recheck_with(harness, rechecks, responds_with(response_with_carrier("X1"))) == ["GET /pro/shipments/a"]
    entry = await last_entry(harness)
    assert (entry["action"], entry["outcome"], entry["message"]) == ("recheck", "same carrier", "X1")
    assert not await is_scheduled(harness)
    assert await recheck_counts(harness) == (1, 0)


async def test_another_carrier(harness: Harness, rechecks: Rechecks, capsys: pytest.CaptureFixture[str]) -> None:
    """A shipment with another carrier service is logged with both, counted, and in its history."""
    await allocated_shipment(harness)
    await recheck_with(harness, rechecks, responds_with(response_with_carrier("Y1")))
    entry = await last_entry(harness)
    assert (entry["outcome"], entry["message"]) == ("carrier changed", "Y1")
    assert await recheck_counts(harness) == (1, 1)
    assert not await is_scheduled(harness)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "carrier_changed" in line]
    assert all(word in line for word in ("acme", "X1", "Y1"))


@pytest.mark.parametrize(("published", "now"), [(None, "Y1"), ("X1", None)])
async def test_a_carrier_that_was_not_named(
    harness: Harness, rechecks: Rechecks, published: str | None, now: str | None
) -> None:
    """If one of the two responses names no carrier, neither a change nor equality is reported."""
    await allocated_shipment(harness, published)
    await recheck_with(harness, rechecks, responds_with(response_with_carrier(now)))
    assert (await last_entry(harness))["outcome"] == "carrier not named"
    assert await recheck_counts(harness) == (1, 0)


async def test_no_response_is_retried(harness: Harness, rechecks: Rechecks) -> None:
    """Without a response it is read back again a minute later."""
    await allocated_shipment(harness)
    for _ in range(2):
        await harness.raw.zadd(DUE, {"acme:a": 1})
        assert len(await recheck_with(harness, rechecks, responds_with(response(500)))) == 1
        waits_s = await harness.raw.zscore(DUE, "acme:a") / 1000 - harness.ledger.now()
        assert waits_s == pytest.approx(60, abs=3)
    assert (await last_entry(harness))["action"] == "allocate"


async def test_it_is_abandoned_after_an_hour(harness: Harness, rechecks: Rechecks) -> None:
    """A shipment that cannot be read back for an hour after its due time is rechecked no more."""
    await allocated_shipment(harness)
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
        await recheck_with(harness, rechecks, responds_with(response(500)))
        assert await is_scheduled(harness) == left


async def test_an_event_that_is_deleted(harness: Harness, rechecks: Rechecks) -> None:
    """Without the published event there is nothing to compare."""
    await allocated_shipment(harness)
    await harness.raw.delete(harness.settings.allocated_stream)
    assert await recheck_with(harness, rechecks, responds_with(response_with_carrier("Y1"))) == []
    assert not await is_scheduled(harness)
