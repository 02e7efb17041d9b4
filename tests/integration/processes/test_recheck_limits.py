"""A recheck obeys the same limits as every call, and blocks nothing."""

import pytest

from tasks.work.ports import Account
from tests.factories.ledger_harness import Harness, until
from tests.factories.raw_api import hangs, listening, responds_with
from tests.factories.rechecks import (
    DUE,
    allocated_shipment,
    is_scheduled,
    response_with_carrier,
    run_rechecks,
    write_merchant_file,
)
from worker.ledger.scripts import DUE_RECHECKS
from worker.processes.merchant_files import MerchantFiles
from worker.processes.rechecks import MAX_PER_RUN, Rechecks


@pytest.mark.parametrize("stands_against", ["a pause", "an open breaker", "no place in flight"])
async def test_it_obeys_limits(
    harness: Harness, rechecks: Rechecks, merchants: MerchantFiles, stands_against: str
) -> None:
    """A recheck waits for a pause, a breaker and a limit like any read-back, and is made later."""
    await allocated_shipment(harness)
    async with listening(responds_with(response_with_carrier("X1"))) as api:
        write_merchant_file(harness.settings.merchants_dir, api, in_flight=1)
        account = merchants.account("acme")
        assert account is not None
        await block_calls(harness, stands_against, account)
        await run_rechecks(rechecks)
        assert api.requests == []
    assert await is_scheduled(harness)


async def block_calls(harness: Harness, what: str, account: Account) -> None:
    """Block the merchant's calls."""
    match what:
        case "a pause":
            await harness.pause("acme")
        case "an open breaker":
            await harness.raw.hset("allocation:blocked_until", f"b:{account.api}", 10**15)
        case _:
            await harness.raw.zadd("allocation:in_flight:acme", {"another": 10**15})


async def test_it_returns_its_slot(harness: Harness, rechecks: Rechecks) -> None:
    """After a recheck its slot is returned, and its feedback is recorded."""
    await allocated_shipment(harness)
    async with listening(responds_with(response_with_carrier("X1"))) as api:
        write_merchant_file(harness.settings.merchants_dir, api, in_flight=1)
        await run_rechecks(rechecks)
        assert len(api.requests) == 1
    assert await harness.raw.zcard("allocation:in_flight:acme") == 0
    (calls,) = [key for key in await harness.raw.keys("allocation:call_stats:*") if b"127.0.0.1" in key]
    assert b"read_at" in await harness.raw.hkeys(calls)


async def test_two_workers_do_not_recheck_the_same(harness: Harness, rechecks: Rechecks) -> None:
    """Rechecks claimed by one worker are due again later; a claim returns a limited number."""
    await harness.raw.zadd(DUE, {f"acme:sp_{n}": n for n in range(MAX_PER_RUN + 5)})
    claims = [await harness.store.run(DUE_RECHECKS, [], [MAX_PER_RUN, 60_000]) for _ in range(3)]
    assert [len(names) - 1 for names in claims] == [MAX_PER_RUN, 5, 0]
    assert rechecks is not None


async def test_it_can_be_stopped(harness: Harness, rechecks: Rechecks) -> None:
    """A recheck without a response does not delay shutdown."""
    await allocated_shipment(harness)
    async with listening(hangs) as api:
        write_merchant_file(harness.settings.merchants_dir, api)
        rechecks.start()
        await until(lambda: bool(api.requests))
        rechecks.start()
        await rechecks.stop()
        assert len(api.requests) == 1
    assert await is_scheduled(harness)
