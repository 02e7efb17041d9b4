"""The breaker of an API: no calls while most calls fail, then one probe at a time."""

import asyncio

import pytest

from tasks.work.ports import Claim, Permit
from tests.factories.ledger_harness import Harness

API, OTHER_API = "api.example#1", "api.example#2"
OPEN_S = [1, 2, 4, 8, 15, 15]
"""The open times, one after another."""


async def report_signals(harness: Harness, claim: Claim, *, good: int = 0, bad: int = 0) -> None:
    """Report good and bad responses of the API."""
    for signal, count in (("good", good), ("bad", bad)):
        for start in range(0, count, len(claim.shipments)):
            some = claim.shipments[: min(len(claim.shipments), count - start)]
            await harness.report_of(some, claim.lease_token, "keep", api=API, signal=signal)


async def request_permit(harness: Harness, claim: Claim, api: str = API, shipment: int = 0) -> Permit:
    """Request a permit to call."""
    return await harness.permit(claim.shipments[shipment], claim.lease_token, api=api)


async def end_open_time(harness: Harness) -> None:
    """Let the open time pass, without a probe in flight."""
    await harness.raw.hset("allocation:blocked_until", f"b:{API}", 1)
    await harness.raw.delete(f"allocation:probe:b:{API}")


@pytest.fixture
def claim(runner: asyncio.Runner, harness: Harness) -> Claim:
    """Twenty claimed shipments."""
    return runner.run(harness.claim("acme", *(f"sp_{n}" for n in range(20))))


@pytest.mark.parametrize(
    ("good", "bad", "opens"), [(0, 9, False), (0, 10, True), (10, 9, False), (12, 11, False), (12, 12, True)]
)
async def test_bad_responses_open_it(
    harness: Harness,
    claim: Claim,
    good: int,
    bad: int,
    opens: bool,  # noqa: FBT001
) -> None:
    """It opens when at least ten responses, and at least half of the last ones, were bad."""
    await report_signals(harness, claim, good=good, bad=bad)
    permit = await request_permit(harness, claim)
    assert (permit.owned, permit.may_call, permit.park) == (True, not opens, opens)
    assert not opens or 0 < permit.wait_s <= OPEN_S[0]


@pytest.mark.parametrize("signal", ["good", "throttled"])
async def test_responses_that_do_not_open_it(harness: Harness, claim: Claim, signal: str) -> None:
    """Neither refusals, which are good responses, nor throttling open it."""
    for _ in range(5):
        await harness.report(claim, "keep", api=API, signal=signal)
    assert not (await request_permit(harness, claim)).park


async def test_old_responses_do_not_count(harness: Harness, claim: Claim) -> None:
    """Responses from half a minute ago neither open a breaker nor keep it closed."""
    await report_signals(harness, claim, good=100)
    bucket = int(await harness.field(f"call_stats:{API}", "bucket"))
    await harness.raw.hset(f"allocation:call_stats:{API}", "bucket", bucket - 2)
    await report_signals(harness, claim, bad=10)
    assert (await request_permit(harness, claim)).park


async def test_it_applies_to_one_api(harness: Harness, claim: Claim) -> None:
    """Another host or key is not blocked; another merchant with the same ones is."""
    await report_signals(harness, claim, bad=10)
    other = await harness.claim("other", "x")
    assert not (await request_permit(harness, claim, OTHER_API)).park
    assert (await request_permit(harness, other)).park


async def test_an_open_breaker_opens_no_call(harness: Harness, claim: Claim) -> None:
    """A delayed call was not made, and the ledger records this."""
    await report_signals(harness, claim, bad=10)
    await request_permit(harness, claim)
    assert await harness.phase("acme", claim.shipments[0].reference) == "r"


async def test_a_task_without_a_lease_is_no_probe(harness: Harness, claim: Claim) -> None:
    """A request without the lease is refused for that reason first, and does not use the probe."""
    await report_signals(harness, claim, bad=10)
    await end_open_time(harness)
    assert not (await harness.permit(claim.shipments[0], "a stale task", api=API)).owned
    assert not (await request_permit(harness, claim)).park


async def test_one_probe_at_a_time(harness: Harness, claim: Claim) -> None:
    """After the open time one call is permitted; the others wait, until the probe has a response or is lost."""
    await report_signals(harness, claim, bad=10)
    await end_open_time(harness)
    permits = [await request_permit(harness, claim, shipment=n) for n in range(3)]
    assert [permit.park for permit in permits] == [False, True, True]
    assert [permit.slot for permit in permits] == [True, False, False]
    assert [permit.wait_s for permit in permits[1:]] == [1, 1]


async def test_a_good_response_closes_it(harness: Harness, claim: Claim) -> None:
    """After one good response all calls are permitted, and earlier bad ones do not count."""
    await report_signals(harness, claim, bad=10)
    await end_open_time(harness)
    await request_permit(harness, claim)
    await report_signals(harness, claim, good=1)
    assert not any([(await request_permit(harness, claim, shipment=n)).park for n in range(3)])
    await report_signals(harness, claim, bad=8)
    assert not (await request_permit(harness, claim)).park
    assert await harness.raw.smembers("allocation:breakers") == set()


async def test_it_reopens_for_longer(harness: Harness, claim: Claim) -> None:
    """Each bad response to a probe doubles the open time, up to a quarter of a minute."""
    await report_signals(harness, claim, bad=10)
    opened = [await harness.field(f"breaker:b:{API}", "opened")]
    for _ in OPEN_S[1:]:
        await end_open_time(harness)
        assert not (await request_permit(harness, claim)).park
        await report_signals(harness, claim, bad=1)
        assert (await request_permit(harness, claim)).park
        opened.append(await harness.field(f"breaker:b:{API}", "opened"))
    assert [int(milliseconds) / 1000 for milliseconds in opened] == OPEN_S


async def test_late_responses_do_not_prolong_it(harness: Harness, claim: Claim) -> None:
    """Responses to calls that were in flight when it opened change nothing while it is open."""
    await report_signals(harness, claim, bad=10)
    before = await harness.field("blocked_until", f"b:{API}")
    await report_signals(harness, claim, bad=20)
    await report_signals(harness, claim, good=1)
    assert await harness.field("blocked_until", f"b:{API}") == before
