"""Who was asked for again after an open call is read once more: the open call may have changed its carrier late."""

import pytest

from tests.factories.ledger_harness import Bench
from tests.factories.looks import DUE, carried_by, changed, last_entry, look_with, settled, waits
from tests.factories.raw_api import answers, response
from worker.processes.rechecks import GIVE_UP_S, Rechecks


async def test_who_was_not_asked_again_is_not_read(bench: Bench) -> None:
    """A shipment whose first call allocated it costs no other request."""
    await settled(bench, again=False)
    assert not await waits(bench)
    assert await changed(bench) == (0, 0)


async def test_who_was_asked_again_waits_for_its_time(bench: Bench, rechecks: Rechecks) -> None:
    """It is read when a quiet time more has passed, and not before."""
    await settled(bench)
    await bench.raw.zadd(DUE, {"acme:a": (bench.ledger.now() + 60) * 1000})
    assert await look_with(bench, rechecks, answers(carried_by("X1"))) == []
    assert await changed(bench) == (1, 0)


async def test_the_same_carrier(bench: Bench, rechecks: Rechecks) -> None:
    """It is read once, its story says that it was looked at, and that is that."""
    await settled(bench)
    assert await look_with(bench, rechecks, answers(carried_by("X1"))) == ["GET /pro/shipments/a"]
    entry = await last_entry(bench)
    assert (entry["do"], entry["outcome"], entry["message"]) == ("recheck", "same carrier", "X1")
    assert not await waits(bench)
    assert await changed(bench) == (1, 0)


async def test_another_carrier(bench: Bench, rechecks: Rechecks, capsys: pytest.CaptureFixture[str]) -> None:
    """A shipment that another carrier service has now is reported with both, counted, and noted in its story."""
    await settled(bench)
    await look_with(bench, rechecks, answers(carried_by("Y1")))
    entry = await last_entry(bench)
    assert (entry["outcome"], entry["message"]) == ("carrier changed", "Y1")
    assert await changed(bench) == (1, 1)
    assert not await waits(bench)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "carrier_changed" in line]
    assert all(word in line for word in ("acme", "X1", "Y1"))


@pytest.mark.parametrize(("told", "now"), [(None, "Y1"), ("X1", None)])
async def test_a_carrier_that_was_not_named(
    bench: Bench, rechecks: Rechecks, told: str | None, now: str | None
) -> None:
    """Where one of the two answers named no carrier nothing is said to have changed, nor to be the same."""
    await settled(bench, told)
    await look_with(bench, rechecks, answers(carried_by(now)))
    assert (await last_entry(bench))["outcome"] == "carrier not named"
    assert await changed(bench) == (1, 0)


async def test_no_answer_is_tried_again(bench: Bench, rechecks: Rechecks) -> None:
    """Without an answer it is read again a minute later."""
    await settled(bench)
    for _ in range(2):
        await bench.raw.zadd(DUE, {"acme:a": 1})
        assert len(await look_with(bench, rechecks, answers(response(500)))) == 1
        waits_s = await bench.raw.zscore(DUE, "acme:a") / 1000 - bench.ledger.now()
        assert waits_s == pytest.approx(60, abs=3)
    assert (await last_entry(bench))["do"] == "allocate"


async def test_it_gives_up_after_an_hour(bench: Bench, rechecks: Rechecks) -> None:
    """A shipment that nothing can be read of for an hour after it was due is looked at no more."""
    await settled(bench)
    record = "allocation:shipment:acme:a"
    now_ms = int(await bench.raw.hget(record, "settled"))
    ((entry_id, entry),) = await bench.raw.xrange(bench.settings.allocated_stream)
    await bench.raw.xdel(bench.settings.allocated_stream, entry_id)
    for age_s, left in ((GIVE_UP_S - 10, True), (GIVE_UP_S + 70, False)):
        await bench.raw.delete(bench.settings.allocated_stream)
        settled_ms = now_ms - round(age_s * 1000)
        await bench.raw.hset(record, "settled", settled_ms)
        await bench.raw.xadd(bench.settings.allocated_stream, entry, id=f"{settled_ms}-0")
        await bench.raw.zadd(DUE, {"acme:a": 1})
        await look_with(bench, rechecks, answers(response(500)))
        assert await waits(bench) == left


async def test_an_event_that_is_gone(bench: Bench, rechecks: Rechecks) -> None:
    """When nobody knows any more what was told of it, there is nothing to compare."""
    await settled(bench)
    await bench.raw.delete(bench.settings.allocated_stream)
    assert await look_with(bench, rechecks, answers(carried_by("Y1"))) == []
    assert not await waits(bench)
