"""A request is written before its permit expires, or not at all; a connection that is established late is kept."""

import asyncio
import json
import time
from collections.abc import Iterator

import pytest
import uvloop

from tasks.rules.outcome import PERMIT_EXPIRED, Allocated, NotSent
from tests.factories.raw_api import (
    REFERENCE,
    account,
    address,
    allocate,
    full_backlog,
    idle_connections,
    listening,
    open_client,
    request,
)

LATE = NotSent(reason=PERMIT_EXPIRED, message="127.0.0.1: not written in time")


@pytest.fixture(autouse=True, params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """Both kinds of event loop."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


def suspend_process() -> None:
    """Block the process from the loop's next iteration on, as if it were stopped."""
    asyncio.get_running_loop().call_soon(time.sleep, 0.4)


async def test_a_slow_connection() -> None:
    """A request that could not be written in time is not written once connected; the next try uses the connection."""
    with full_backlog() as listener:
        url = address(listener)
        async with open_client() as client:
            call = asyncio.create_task(allocate(client, account(url), within_s=0.2))
            await asyncio.sleep(0.3)  # the time for which the permit is valid
            async with listening(listener=listener) as api:
                assert await call == LATE
                assert len(idle_connections(client)) == 1
                assert isinstance(await allocate(client, account(url)), Allocated)
                assert (len(idle_connections(client)), len(api.requests)) == (1, 1)


async def test_a_suspension_while_connecting() -> None:
    """A process that is suspended until the time has passed writes nothing afterwards."""
    async with listening() as api, open_client() as client:
        suspend_process()
        assert await allocate(client, account(api.url), within_s=0.2) == LATE
        assert isinstance(await allocate(client, account(api.url)), Allocated)
        assert [received.connection for received in api.requests] == [1]


async def test_an_established_connection() -> None:
    """On a reused connection nothing is written late either, and it is kept."""
    async with listening() as api, open_client() as client:
        merchant_account = account(api.url)
        assert isinstance(await allocate(client, merchant_account, "sp_1"), Allocated)
        assert await allocate(client, merchant_account, "sp_2", within_s=0) == LATE
        assert isinstance(await allocate(client, merchant_account, "sp_3"), Allocated)
        assert [(received.reference, received.connection) for received in api.requests] == [("sp_1", 1), ("sp_3", 1)]


async def test_every_kind_of_request() -> None:
    """Quotes and read-backs have their deadline too, and each shipment of a late call has the outcome."""
    async with listening() as api, open_client() as client:
        merchant_account = account(api.url, {"default_rules": True})
        strategy, late = merchant_account.merchant.file.allocation.strategy, request("sp_1", "sp_2", within_s=0)
        assert await client.allocate(merchant_account, strategy, late) == {"sp_1": LATE, "sp_2": LATE}
        assert await client.read_back(merchant_account, request(within_s=0)) == LATE
        offers = account(api.url, {"quote": "cheapest"})
        assert await client.quote(offers, offers.merchant.file.allocation.strategy, request(within_s=0)) == LATE
        assert api.requests == []


async def test_a_suspension_after_the_head() -> None:
    """Head and body are written in one step: a process that is suspended afterwards has sent all or nothing."""
    async with listening() as api, open_client() as client:
        await allocate(client, account(api.url))
        merchant_account = account(api.url, {"default_rules": True})
        suspend_process()
        await allocate(client, merchant_account, REFERENCE, within_s=0.2)
        assert [json.loads(received.body or b"null") for received in api.requests] == [None, {"shipments": [REFERENCE]}]
