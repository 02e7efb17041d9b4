"""Connections to APIs: each is given back or reset whatever becomes of its call, and no answer is another's."""

import asyncio
from typing import Any

import pytest

from tasks.outcome import Allocated, Unknown
from tests.worker.bench import until
from tests.worker.raw_api import (
    Request,
    account,
    allocate,
    allocated,
    answers,
    call_once,
    calling,
    hangs,
    idle,
    listening,
    reply,
)
from worker.deadlines import Deadlines
from worker.pro import connections
from worker.pro.client import ProApi

PROMISE = b"HTTP/1.1 199 Soon\r\ncontent-length: 3\r\n\r\nabc"


def used(api: ProApi) -> set[Any]:
    """The connections that carry a request, as far as the client knows."""
    transport: Any = api._sender._http._transport
    found: set[Any] = transport._connections.used
    return found


async def test_a_promise_with_a_body() -> None:
    """What comes before the answer proper is no part of it."""
    async with listening(answers(PROMISE + reply(200, allocated()))) as api:
        assert isinstance(await call_once(api.url), Allocated)


@pytest.mark.parametrize("turns", range(8))
async def test_a_call_that_is_cancelled_as_its_answer_comes(turns: int) -> None:
    """Its connection is in use no more, in whichever turn of the loop that happens."""
    answered = asyncio.Event()

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(200, allocated(request.reference)))
        answered.set()

    async with listening(answer) as api, calling() as client:
        call = asyncio.create_task(allocate(client, account(api.url)))
        await answered.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert used(client) == set()


async def test_calls_that_take_too_long_leave_nothing() -> None:
    """A call that was given up holds neither its connection nor its deadline."""
    async with listening(hangs) as api, calling() as client:
        found = await asyncio.gather(*(allocate(client, account(api.url, timeout_s=0.2)) for _ in range(5)))
        assert {type(outcome) for outcome in found} == {Unknown}
        transport: Any = client._sender._http._transport
        assert (used(client), idle(client)) == (set(), [])
        await until(lambda: not transport._connections.deadlines._due)


async def test_idle_connections_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that nobody has used for a while is reset."""
    monkeypatch.setattr(connections, "IDLE_CONNECTION_S", 0.1)
    async with listening() as api, calling() as client:
        await allocate(client, account(api.url))
        transport: Any = client._sender._http._transport
        assert len(idle(client)) == 1
        await until(lambda: not transport._connections.idle)
        assert isinstance(await allocate(client, account(api.url)), Allocated)
        assert [request.connection for request in api.requests] == [1, 2]


async def test_what_is_over_in_time_is_not_ended() -> None:
    """A deadline concerns only what still goes on then."""

    class Job:
        ended = False

        def end(self, error: Exception | None) -> None:
            assert isinstance(error, TimeoutError)
            self.ended = True

    deadlines, jobs = Deadlines(), [Job(), Job()]
    ticks = [deadlines.add(job, 0.1) for job in jobs]
    deadlines.discard(jobs[0], ticks[0])
    await until(lambda: jobs[1].ended)
    assert not jobs[0].ended
