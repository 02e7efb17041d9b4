"""Many askers, one round trip."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.factories.ledger_harness import until
from worker.ledger.coalesce import Coalesced


class Trips:
    """A function of many that notes what it was asked, and waits for a word of the test's if told so."""

    def __init__(self) -> None:
        """Answers at once."""
        self.asked: list[list[int]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def double(self, items: Sequence[int]) -> list[int]:
        """Twice each; fails for a negative one, and forgets those beyond a thousand."""
        self.asked.append(list(items))
        await self.may_answer.wait()
        if min(items) < 0:
            raise ValueError("negative")
        return [2 * item for item in items if item < 1000]


@pytest.fixture
def trips() -> Trips:
    """Nothing asked yet."""
    return Trips()


async def test_who_asks_at_once_goes_together(trips: Trips) -> None:
    """Askers who are ready at the same moment share round trips, in their order, and each gets his own answer."""
    coalesced = Coalesced(trips.double, 100)
    assert await asyncio.gather(*map(coalesced.submit, range(250))) == [2 * item for item in range(250)]
    assert trips.asked == [list(range(100)), list(range(100, 200)), list(range(200, 250))]


async def test_who_comes_during_a_round_trip_waits_for_the_next(trips: Trips) -> None:
    """What is asked while a round trip is under way goes into the next one together."""
    coalesced = Coalesced(trips.double, 100)
    trips.may_answer.clear()
    first = asyncio.gather(*map(coalesced.submit, [1]))
    await until(lambda: bool(trips.asked))
    others = asyncio.gather(*map(coalesced.submit, [2, 3, 4]))
    await asyncio.sleep(0)
    trips.may_answer.set()
    assert [*await first, *await others] == [2, 4, 6, 8]
    assert trips.asked == [[1], [2, 3, 4]]


async def test_an_error_reaches_everybody(trips: Trips) -> None:
    """A round trip that fails, fails for all who were on it and for nobody else."""
    coalesced = Coalesced(trips.double, 3)
    found = await asyncio.gather(*map(coalesced.submit, [1, -1, 2, 5, 6]), return_exceptions=True)
    assert [str(answer) for answer in found] == ["negative", "negative", "negative", "10", "12"]
    assert await coalesced.submit(7) == 14


async def test_an_answer_that_is_missing(trips: Trips) -> None:
    """A round trip that brings another number of answers than were asked for is an error, and holds nobody up."""
    coalesced = Coalesced(trips.double, 3)
    found = await asyncio.gather(*map(coalesced.submit, [1, 2, 1000]), return_exceptions=True)
    assert all(isinstance(answer, ValueError) for answer in found)
    assert await coalesced.submit(7) == 14


async def test_who_waits_no_more(trips: Trips) -> None:
    """An asker who was cancelled does not disturb the others on his round trip."""
    coalesced = Coalesced(trips.double, 100)
    trips.may_answer.clear()
    asking = [asyncio.ensure_future(coalesced.submit(item)) for item in (1, 2, 3)]
    await until(lambda: bool(trips.asked))
    asking[1].cancel()
    trips.may_answer.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert found[0] == 2
    assert isinstance(found[1], asyncio.CancelledError)
    assert found[2] == 6
