"""The breaker of an API: nobody calls where most calls come to nothing, and one at a time tries again."""

import asyncio

import pytest

from tasks.work.ports import Claim, Permit
from tests.factories.ledger_harness import Harness

API, OTHER_API = "api.example#1", "api.example#2"
OPEN_S = [1, 2, 4, 8, 15, 15]
"""For how long it is open, time after time."""


async def call_record(harness: Harness, claim: Claim, *, good: int = 0, bad: int = 0) -> None:
    """Report so many answers of the API."""
    for answer, count in (("good", good), ("bad", bad)):
        for start in range(0, count, len(claim.shipments)):
            some = claim.shipments[: min(len(claim.shipments), count - start)]
            await harness.report_of(some, claim.lease_token, "keep", api=API, signal=answer)


async def asked(harness: Harness, claim: Claim, api: str = API, shipment: int = 0) -> Permit:
    """Ask to call."""
    return await harness.permit(claim.shipments[shipment], claim.lease_token, api=api)


async def time_is_over(harness: Harness) -> None:
    """Let the time for which the breaker is open have passed, without a probe under way."""
    await harness.raw.hset("allocation:blocked_until", f"b:{API}", 1)
    await harness.raw.delete(f"allocation:probe:b:{API}")


@pytest.fixture
def claim(runner: asyncio.Runner, harness: Harness) -> Claim:
    """Twenty shipments in a task's hands."""
    return runner.run(harness.claim("acme", *(f"sp_{n}" for n in range(20))))


@pytest.mark.parametrize(
    ("good", "bad", "opens"), [(0, 9, False), (0, 10, True), (10, 9, False), (12, 11, False), (12, 12, True)]
)
async def test_a_share_of_bad_answers_opens_it(
    harness: Harness,
    claim: Claim,
    good: int,
    bad: int,
    opens: bool,  # noqa: FBT001
) -> None:
    """It opens when at least ten answers, and at least half of the last ones, were bad."""
    await call_record(harness, claim, good=good, bad=bad)
    permit = await asked(harness, claim)
    assert (permit.owned, permit.may_call, permit.park) == (True, not opens, opens)
    assert not opens or 0 < permit.wait_s <= OPEN_S[0]


@pytest.mark.parametrize("answer", ["good", "throttled"])
async def test_answers_that_do_not_open_it(harness: Harness, claim: Claim, answer: str) -> None:
    """Neither refusals, which are good answers, nor throttling say that an API is broken."""
    for _ in range(5):
        await harness.report(claim, "keep", api=API, signal=answer)
    assert not (await asked(harness, claim)).park


async def test_old_answers_do_not_count(harness: Harness, claim: Claim) -> None:
    """Answers of half a minute ago neither open a breaker nor keep it closed."""
    await call_record(harness, claim, good=100)
    bucket = int(await harness.field(f"call_stats:{API}", "bucket"))
    await harness.raw.hset(f"allocation:call_stats:{API}", "bucket", bucket - 2)
    await call_record(harness, claim, bad=10)
    assert (await asked(harness, claim)).park


async def test_it_concerns_one_api(harness: Harness, claim: Claim) -> None:
    """Who calls another host, or with another key, is not held up; another merchant with the same ones is."""
    await call_record(harness, claim, bad=10)
    other = await harness.claim("other", "x")
    assert not (await asked(harness, claim, OTHER_API)).park
    assert (await asked(harness, other)).park


async def test_an_open_breaker_leaves_no_doubt(harness: Harness, claim: Claim) -> None:
    """Who is told to wait has made no call, and the ledger says so."""
    await call_record(harness, claim, bad=10)
    await asked(harness, claim)
    assert await harness.phase("acme", claim.shipments[0].reference) == "r"


async def test_who_lost_the_lease_is_no_probe(harness: Harness, claim: Claim) -> None:
    """A task that holds nothing is told that first, and does not use up the probe."""
    await call_record(harness, claim, bad=10)
    await time_is_over(harness)
    assert not (await harness.permit(claim.shipments[0], "a stale task", api=API)).owned
    assert not (await asked(harness, claim)).park


async def test_one_probe_at_a_time(harness: Harness, claim: Claim) -> None:
    """When its time is over one caller may try; the others wait for a second, until the probe is answered or lost."""
    await call_record(harness, claim, bad=10)
    await time_is_over(harness)
    permits = [await asked(harness, claim, shipment=n) for n in range(3)]
    assert [permit.park for permit in permits] == [False, True, True]
    assert [permit.slot for permit in permits] == [True, False, False]
    assert [permit.wait_s for permit in permits[1:]] == [1, 1]


async def test_a_good_answer_closes_it(harness: Harness, claim: Claim) -> None:
    """After one good answer everybody calls again, and what was bad before is forgotten."""
    await call_record(harness, claim, bad=10)
    await time_is_over(harness)
    await asked(harness, claim)
    await call_record(harness, claim, good=1)
    assert not any([(await asked(harness, claim, shipment=n)).park for n in range(3)])
    await call_record(harness, claim, bad=8)
    assert not (await asked(harness, claim)).park
    assert await harness.raw.smembers("allocation:breakers") == set()


async def test_it_reopens_for_longer(harness: Harness, claim: Claim) -> None:
    """Each bad answer to a probe doubles the time for which nobody calls, up to a quarter of a minute."""
    await call_record(harness, claim, bad=10)
    opened = [await harness.field(f"breaker:b:{API}", "opened")]
    for _ in OPEN_S[1:]:
        await time_is_over(harness)
        assert not (await asked(harness, claim)).park
        await call_record(harness, claim, bad=1)
        assert (await asked(harness, claim)).park
        opened.append(await harness.field(f"breaker:b:{API}", "opened"))
    assert [int(milliseconds) / 1000 for milliseconds in opened] == OPEN_S


async def test_late_answers_do_not_prolong_it(harness: Harness, claim: Claim) -> None:
    """Answers to calls that were under way when it opened change nothing while it is open."""
    await call_record(harness, claim, bad=10)
    before = await harness.field("blocked_until", f"b:{API}")
    await call_record(harness, claim, bad=20)
    await call_record(harness, claim, good=1)
    assert await harness.field("blocked_until", f"b:{API}") == before
