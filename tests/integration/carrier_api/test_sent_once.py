"""No layer below repeats a call: whatever happens to its connection, a request goes out once or not at all."""

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
    """Allocates on the first request of a connection; reads the second one, acts on it, and drops the connection."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.reference == "first":
            writer.write(response(200, allocated("first")))
        elif end == "reset":
            reset(writer)
        else:
            writer.close()

    return answer


@pytest.mark.parametrize("end", ["reset", "close"])
async def test_a_connection_that_drops_under_a_second_call(end: str) -> None:
    """When the API acts and drops a connection that was used before, it saw one PUT, and the outcome is unknown."""
    async with listening(drops_the_second(end)) as api, open_client() as client:
        here = account(api.url)
        assert isinstance(await allocate(client, here, "first"), Allocated)
        outcome = await allocate(client, here, "second")
        assert [(request.reference, request.connection) for request in api.requests] == [("first", 1), ("second", 1)]
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "lost_response"


async def test_an_api_that_closes_idle_connections() -> None:
    """A connection that the API closed while it was idle is not used any more: no call is lost to it."""

    async def closes_when_idle(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, allocated(request.reference)))
        asyncio.get_running_loop().call_later(0.05, writer.close)

    async with listening(closes_when_idle) as api, open_client() as client:
        for _ in range(5):
            assert isinstance(await allocate(client, account(api.url)), Allocated)
            await until(lambda: not idle_connections(client))
        assert [request.connection for request in api.requests] == [1, 2, 3, 4, 5]


async def test_an_answer_that_nobody_asked_for() -> None:
    """What comes in on an idle connection is no answer to the next call, which opens a connection of its own."""

    async def says_more(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, allocated(request.reference)))
        if request.reference == "first":
            asyncio.get_running_loop().call_later(0.05, writer.write, response(200, allocated("second")))

    async with listening(says_more) as api, open_client() as client:
        here = account(api.url)
        await allocate(client, here, "first")
        await until(lambda: not idle_connections(client))
        assert isinstance(await allocate(client, here, "second"), Allocated)
        assert [(request.reference, request.connection) for request in api.requests] == [("first", 1), ("second", 2)]


async def test_an_api_that_announces_the_end() -> None:
    """After `connection: close` the next call opens a connection of its own."""

    async def says_close(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, allocated(request.reference), "connection: close"))

    async with listening(says_close) as api, open_client() as client:
        found = [await allocate(client, account(api.url)) for _ in range(3)]
        assert [request.connection for request in api.requests] == [1, 2, 3]
    assert all(isinstance(outcome, Allocated) for outcome in found)


async def test_connections_are_used_again() -> None:
    """Calls one after the other share a connection."""
    async with listening() as api, open_client() as client:
        for _ in range(5):
            await allocate(client, account(api.url))
        assert api.connections == 1


async def test_many_calls_at_once() -> None:
    """Two hundred calls over one client all go out at once, none waits for another, and each gets its own answer."""
    everybody = asyncio.Event()
    references = [f"sp_{number}" for number in range(200)]

    async def waits_for_all(request: Request, writer: asyncio.StreamWriter) -> None:
        if len(api.requests) == len(references):
            everybody.set()
        await everybody.wait()
        writer.write(response(200, allocated(request.reference)))

    async with listening(waits_for_all) as api, open_client() as client:
        here = account(api.url)
        found = await asyncio.gather(*(allocate(client, here, reference) for reference in references))
        assert sorted(request.reference for request in api.requests) == sorted(references)
    assert all(isinstance(outcome, Allocated) for outcome in found)
