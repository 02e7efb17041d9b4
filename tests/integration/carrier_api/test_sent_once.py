"""No lower layer repeats a call: whatever happens to its connection, a request is sent once or not at all."""

import asyncio

import pytest

from tasks.rules.outcome import Allocated, Unknown
from tests.factories.ledger_harness import until
from tests.factories.raw_api import (
    Handler,
    Request,
    account,
    allocate,
    allocated,
    idle_connections,
    listening,
    open_client,
    reset,
    response,
)


def drops_the_second(end: str) -> Handler:
    """Allocates on the first request of a connection; acts on the second one, and drops the connection."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.reference == "first":
            writer.write(response(200, allocated("first")))
        elif end == "reset":
            reset(writer)
        else:
            writer.close()

    return handler


@pytest.mark.parametrize("end", ["reset", "close"])
async def test_a_connection_that_drops_in_a_second_call(end: str) -> None:
    """If the API acts and drops a reused connection, it received one PUT, and the outcome is unknown."""
    async with listening(drops_the_second(end)) as api, open_client() as client:
        merchant_account = account(api.url)
        assert isinstance(await allocate(client, merchant_account, "first"), Allocated)
        outcome = await allocate(client, merchant_account, "second")
        assert [(request.reference, request.connection) for request in api.requests] == [("first", 1), ("second", 1)]
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "lost_response"


async def test_an_api_that_closes_idle_connections() -> None:
    """A connection that the API closed while it was idle is not reused: no call is lost."""

    async def closes_when_idle(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, allocated(request.reference)))
        asyncio.get_running_loop().call_later(0.05, writer.close)

    async with listening(closes_when_idle) as api, open_client() as client:
        for _ in range(5):
            assert isinstance(await allocate(client, account(api.url)), Allocated)
            await until(lambda: not idle_connections(client))
        assert [request.connection for request in api.requests] == [1, 2, 3, 4, 5]


async def test_an_unsolicited_response() -> None:
    """Data received on an idle connection is no response to the next call, which opens a new connection."""

    async def sends_more(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, allocated(request.reference)))
        if request.reference == "first":
            asyncio.get_running_loop().call_later(0.05, writer.write, response(200, allocated("second")))

    async with listening(sends_more) as api, open_client() as client:
        merchant_account = account(api.url)
        await allocate(client, merchant_account, "first")
        await until(lambda: not idle_connections(client))
        assert isinstance(await allocate(client, merchant_account, "second"), Allocated)
        assert [(request.reference, request.connection) for request in api.requests] == [("first", 1), ("second", 2)]


async def test_connection_close() -> None:
    """After `connection: close` the next call opens a new connection."""

    async def announces_close(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, allocated(request.reference), "connection: close"))

    async with listening(announces_close) as api, open_client() as client:
        found = [await allocate(client, account(api.url)) for _ in range(3)]
        assert [request.connection for request in api.requests] == [1, 2, 3]
    assert all(isinstance(outcome, Allocated) for outcome in found)


async def test_connections_are_reused() -> None:
    """Consecutive calls share a connection."""
    async with listening() as api, open_client() as client:
        for _ in range(5):
            await allocate(client, account(api.url))
        assert api.connections == 1


async def test_concurrent_calls() -> None:
    """Two hundred calls over one client are all sent concurrently, and each gets its own response."""
    everybody = asyncio.Event()
    references = [f"sp_{number}" for number in range(200)]

    async def waits_for_all(request: Request, writer: asyncio.StreamWriter) -> None:
        if len(api.requests) == len(references):
            everybody.set()
        await everybody.wait()
        writer.write(response(200, allocated(request.reference)))

    async with listening(waits_for_all) as api, open_client() as client:
        merchant_account = account(api.url)
        found = await asyncio.gather(*(allocate(client, merchant_account, reference) for reference in references))
        assert sorted(request.reference for request in api.requests) == sorted(references)
    assert all(isinstance(outcome, Allocated) for outcome in found)
