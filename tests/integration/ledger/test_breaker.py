"""The breaker of an API: nobody calls where most calls come to nothing, and one at a time tries again."""

import asyncio

import pytest

from tasks.work.ports import Permit, Taken
from tests.factories.ledger_harness import Bench

API, OTHER_API = "api.example#1", "api.example#2"
OPEN_S = [1, 2, 4, 8, 15, 15]
"""For how long it is open, time after time."""


async def answered(bench: Bench, taken: Taken, *, good: int = 0, bad: int = 0) -> None:
    """Report so many answers of the API."""
    for answer, count in (("good", good), ("bad", bad)):
        for start in range(0, count, len(taken.shipments)):
            some = taken.shipments[: min(len(taken.shipments), count - start)]
            await bench.report_of(some, taken.task, "keep", api=API, answer=answer)


async def asked(bench: Bench, taken: Taken, api: str = API, shipment: int = 0) -> Permit:
    """Ask to call."""
    return await bench.permit(taken.shipments[shipment], taken.task, api=api)


async def time_is_over(bench: Bench) -> None:
    """Let the time for which the breaker is open have passed, without a probe under way."""
    await bench.raw.hset("allocation:not_before", f"b:{API}", 1)
    await bench.raw.delete(f"allocation:probe:b:{API}")


@pytest.fixture
def taken(runner: asyncio.Runner, bench: Bench) -> Taken:
    """Twenty shipments in a task's hands."""
    return runner.run(bench.take("acme", *(f"sp_{n}" for n in range(20))))


@pytest.mark.parametrize(
    ("good", "bad", "opens"), [(0, 9, False), (0, 10, True), (10, 9, False), (12, 11, False), (12, 12, True)]
)
async def test_a_share_of_bad_answers_opens_it(bench: Bench, taken: Taken, good: int, bad: int, opens: bool) -> None:  # noqa: FBT001
    """It opens when at least ten answers, and at least half of the last ones, were bad."""
    await answered(bench, taken, good=good, bad=bad)
    permit = await asked(bench, taken)
    assert (permit.held, permit.may_call, permit.park) == (True, not opens, opens)
    assert not opens or 0 < permit.wait_s <= OPEN_S[0]


@pytest.mark.parametrize("answer", ["good", "throttled"])
async def test_answers_that_do_not_open_it(bench: Bench, taken: Taken, answer: str) -> None:
    """Neither refusals, which are good answers, nor throttling say that an API is broken."""
    for _ in range(5):
        await bench.report(taken, "keep", api=API, answer=answer)
    assert not (await asked(bench, taken)).park


async def test_old_answers_do_not_count(bench: Bench, taken: Taken) -> None:
    """Answers of half a minute ago neither open a breaker nor keep it closed."""
    await answered(bench, taken, good=100)
    bucket = int(await bench.field(f"calls:{API}", "bucket"))
    await bench.raw.hset(f"allocation:calls:{API}", "bucket", bucket - 2)
    await answered(bench, taken, bad=10)
    assert (await asked(bench, taken)).park


async def test_it_concerns_one_api(bench: Bench, taken: Taken) -> None:
    """Who calls another host, or with another key, is not held up; another merchant with the same ones is."""
    await answered(bench, taken, bad=10)
    other = await bench.take("other", "x")
    assert not (await asked(bench, taken, OTHER_API)).park
    assert (await asked(bench, other)).park


async def test_an_open_breaker_leaves_no_doubt(bench: Bench, taken: Taken) -> None:
    """Who is told to wait has made no call, and the ledger says so."""
    await answered(bench, taken, bad=10)
    await asked(bench, taken)
    assert await bench.phase("acme", taken.shipments[0].reference) == "r"


async def test_who_lost_the_lease_is_no_probe(bench: Bench, taken: Taken) -> None:
    """A task that holds nothing is told that first, and does not use up the probe."""
    await answered(bench, taken, bad=10)
    await time_is_over(bench)
    assert not (await bench.permit(taken.shipments[0], "a stale task", api=API)).held
    assert not (await asked(bench, taken)).park


async def test_one_probe_at_a_time(bench: Bench, taken: Taken) -> None:
    """When its time is over one caller may try; the others wait for a second, until the probe is answered or lost."""
    await answered(bench, taken, bad=10)
    await time_is_over(bench)
    permits = [await asked(bench, taken, shipment=n) for n in range(3)]
    assert [permit.park for permit in permits] == [False, True, True]
    assert [permit.place for permit in permits] == [True, False, False]
    assert [permit.wait_s for permit in permits[1:]] == [1, 1]


async def test_a_good_answer_closes_it(bench: Bench, taken: Taken) -> None:
    """After one good answer everybody calls again, and what was bad before is forgotten."""
    await answered(bench, taken, bad=10)
    await time_is_over(bench)
    await asked(bench, taken)
    await answered(bench, taken, good=1)
    assert not any([(await asked(bench, taken, shipment=n)).park for n in range(3)])
    await answered(bench, taken, bad=8)
    assert not (await asked(bench, taken)).park
    assert await bench.raw.smembers("allocation:breakers") == set()


async def test_it_reopens_for_longer(bench: Bench, taken: Taken) -> None:
    """Each bad answer to a probe doubles the time for which nobody calls, up to a quarter of a minute."""
    await answered(bench, taken, bad=10)
    opened = [await bench.field(f"breaker:b:{API}", "opened")]
    for _ in OPEN_S[1:]:
        await time_is_over(bench)
        assert not (await asked(bench, taken)).park
        await answered(bench, taken, bad=1)
        assert (await asked(bench, taken)).park
        opened.append(await bench.field(f"breaker:b:{API}", "opened"))
    assert [int(milliseconds) / 1000 for milliseconds in opened] == OPEN_S


async def test_late_answers_do_not_prolong_it(bench: Bench, taken: Taken) -> None:
    """Answers to calls that were under way when it opened change nothing while it is open."""
    await answered(bench, taken, bad=10)
    before = await bench.field("not_before", f"b:{API}")
    await answered(bench, taken, bad=20)
    await answered(bench, taken, good=1)
    assert await bench.field("not_before", f"b:{API}") == before
