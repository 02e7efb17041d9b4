"""Concurrent requests share round trips."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.factories.ledger_harness import until
from worker.ledger.coalesce import Coalesced


class BlockableFunction:
    """A function of many items that records its arguments, and can be blocked by a test."""

    def __init__(self) -> None:
        """Not blocked."""
        self.arguments: list[list[int]] = []
        self.unblocked = asyncio.Event()
        self.unblocked.set()

    async def double(self, items: Sequence[int]) -> list[int]:
        """Doubles each item; fails for a negative one, and omits results above a thousand."""
        self.arguments.append(list(items))
        await self.unblocked.wait()
        if min(items) < 0:
            raise ValueError("negative")
        return [2 * item for item in items if item < 1000]


@pytest.fixture
def function() -> BlockableFunction:
    """A function without recorded arguments."""
    return BlockableFunction()


async def test_concurrent_requests_share_round_trips(function: BlockableFunction) -> None:
    """Requests that are ready at the same time share round trips, in order, and each gets its own result."""
    coalesced = Coalesced(function.double, 100)
    assert await asyncio.gather(*map(coalesced.submit, range(250))) == [2 * item for item in range(250)]
    assert function.arguments == [list(range(100)), list(range(100, 200)), list(range(200, 250))]


async def test_requests_during_a_round_trip_wait_for_the_next(function: BlockableFunction) -> None:
    """Requests made while a round trip is in flight share the next one."""
    coalesced = Coalesced(function.double, 100)
    function.unblocked.clear()
    first = asyncio.gather(*map(coalesced.submit, [1]))
    await until(lambda: bool(function.arguments))
    others = asyncio.gather(*map(coalesced.submit, [2, 3, 4]))
    await asyncio.sleep(0)
    function.unblocked.set()
    assert [*await first, *await others] == [2, 4, 6, 8]
    assert function.arguments == [[1], [2, 3, 4]]


async def test_an_error_reaches_all(function: BlockableFunction) -> None:
    """A failed round trip fails for all its requests and for no other."""
    coalesced = Coalesced(function.double, 3)
    found = await asyncio.gather(*map(coalesced.submit, [1, -1, 2, 5, 6]), return_exceptions=True)
    assert [str(result) for result in found] == ["negative", "negative", "negative", "10", "12"]
    assert await coalesced.submit(7) == 14


async def test_a_missing_result(function: BlockableFunction) -> None:
    """A round trip with another number of results than requests is an error, and blocks nothing."""
    coalesced = Coalesced(function.double, 3)
    found = await asyncio.gather(*map(coalesced.submit, [1, 2, 1000]), return_exceptions=True)
    assert all(isinstance(result, ValueError) for result in found)
    assert await coalesced.submit(7) == 14


async def test_a_cancelled_request(function: BlockableFunction) -> None:
    """A cancelled request does not disturb the others in its round trip."""
    coalesced = Coalesced(function.double, 100)
    function.unblocked.clear()
    pending = [asyncio.ensure_future(coalesced.submit(item)) for item in (1, 2, 3)]
    await until(lambda: bool(function.arguments))
    pending[1].cancel()
    function.unblocked.set()
    found = await asyncio.gather(*pending, return_exceptions=True)
    assert found[0] == 2
    assert isinstance(found[1], asyncio.CancelledError)
    assert found[2] == 6
