"""`Retry-After`: it applies to the merchant that received it, not to one shipment, and to no other merchant."""

import asyncio
from typing import Any

import pytest

from tasks.work.ports import Claim, Permit
from tests.factories.ledger_harness import Harness

API = "api.example#1"
AWAY, SLOW, PROBE = "u:acme", "allocation:slow_read:acme", "allocation:probe:u:acme"


@pytest.fixture
def claim(runner: asyncio.Runner, harness: Harness) -> Claim:
    """Three claimed shipments."""
    return runner.run(harness.claim("acme", "a", "b", "c"))


async def request_permit(harness: Harness, claim: Claim, shipment: int = 0, **rest: Any) -> Permit:
    """Request a permit for one of the shipments."""
    return await harness.permit(claim.shipments[shipment], claim.lease_token, api=API, **rest)


async def report_signal(harness: Harness, claim: Claim, signal: str, retry_after_s: float = 0.0, **rest: Any) -> None:
    """Report a response to the first shipment's call."""
    feedback = {"api": API, "signal": signal, "retry_after_s": retry_after_s, **rest}
    await harness.report_of(claim.shipments[:1], claim.lease_token, "keep", **feedback)


async def end_wait(harness: Harness) -> None:
    """Let the time of `Retry-After` pass."""
    await harness.raw.hset("allocation:blocked_until", AWAY, 1)


@pytest.mark.parametrize(
    ("signal", "said_s", "waits_s"),
    [("throttled", 120, 120), ("throttled", 9999, 3600), ("bad", 120, 120), ("bad", 9999, 600), ("foreign", 120, 120)],
)
async def test_no_call_before(harness: Harness, claim: Claim, signal: str, said_s: float, waits_s: float) -> None:
    """After a 429 no call of the merchant is made for its `Retry-After`, up to an hour; after a 503, ten minutes."""
    await report_signal(harness, claim, signal, said_s)
    permit = await request_permit(harness, claim, 1)
    assert (permit.owned, permit.park) == (True, True)
    assert permit.wait_s == pytest.approx(waits_s, abs=5)
    assert await harness.phase("acme", "b") == "r"


@pytest.mark.parametrize("signal", ["throttled", "bad"])
async def test_it_applies_to_one_merchant(harness: Harness, claim: Claim, signal: str) -> None:
    """Another merchant of the same API, with the same key, is not delayed."""
    other = await harness.claim("other", "x")
    await report_signal(harness, claim, signal, 120)
    assert (await request_permit(harness, other)).may_call


async def test_a_shorter_one_does_not_shorten_it(harness: Harness, claim: Claim) -> None:
    """Of several responses the longest wait counts."""
    for said_s in (300, 1):
        await report_signal(harness, claim, "throttled", said_s)
    assert (await request_permit(harness, claim, 1)).wait_s > 250


async def test_after_a_429_all_continue(harness: Harness, claim: Claim) -> None:
    """When the time of a 429 is over all calls are permitted: there is no probe, and no state is left."""
    await report_signal(harness, claim, "throttled", 120)
    await harness.raw.hset("allocation:blocked_until", "m:acme", 1)
    assert [(await request_permit(harness, claim, n)).may_call for n in range(3)] == [True] * 3
    assert await harness.raw.exists("allocation:blocked_until") == 0


async def test_a_response_without_it(harness: Harness, claim: Claim) -> None:
    """A server error without `Retry-After` delays no call."""
    await report_signal(harness, claim, "bad")
    assert (await request_permit(harness, claim, 1)).may_call


@pytest.mark.parametrize("signal", ["good", "denied"])
async def test_other_responses_delay_nothing(harness: Harness, claim: Claim, signal: str) -> None:
    """A `Retry-After` of a queued call, or of a refused key, does not apply to other calls."""
    await report_signal(harness, claim, signal, 120)
    assert (await request_permit(harness, claim, 1)).may_call


async def test_slow_read_backs_meanwhile(harness: Harness, claim: Claim) -> None:
    """While an API is unavailable one read-back in ten seconds is permitted, and no call."""
    await report_signal(harness, claim, "bad", 120)
    reads = [await request_permit(harness, claim, n, purpose="read") for n in range(3)]
    assert [permit.may_call for permit in reads] == [True, False, False]
    assert 5_000 < await harness.raw.pttl(SLOW) <= 10_000
    assert not (await request_permit(harness, claim)).may_call
    await harness.raw.delete(SLOW)
    assert (await request_permit(harness, claim, 1, purpose="read")).may_call


async def test_delayed_read_backs_are_spread(harness: Harness) -> None:
    """Read-backs that must wait are spread over the time of the outage, and none waits for its end."""
    claim = await harness.claim("acme", *(f"sp_{n}" for n in range(50)))
    await report_signal(harness, claim, "bad", 600)
    await request_permit(harness, claim, purpose="read")
    waits = [(await request_permit(harness, claim, n, purpose="read")).wait_s for n in range(1, 50)]
    assert 10 <= min(waits) < 200
    assert 400 < max(waits) <= 600
    assert (await request_permit(harness, claim)).wait_s == pytest.approx(600, abs=5)


async def test_a_slow_read_back_is_not_wasted(harness: Harness, claim: Claim) -> None:
    """A read-back that is delayed for another reason leaves the slow read-back to others."""
    await report_signal(harness, claim, "bad", 120)
    await harness.raw.zadd("allocation:in_flight:acme", {"another": 4e12})
    assert (await request_permit(harness, claim, purpose="read", in_flight=1)).busy
    assert (await request_permit(harness, claim, 1, purpose="read")).may_call


async def test_then_one_probe(harness: Harness, claim: Claim) -> None:
    """When the time of a 503 is over one call is permitted, and the others wait for its response."""
    await report_signal(harness, claim, "bad", 120)
    await end_wait(harness)
    permits = [await request_permit(harness, claim, n) for n in range(3)]
    assert [permit.may_call for permit in permits] == [True, False, False]
    assert permits[1].wait_s == 1
    await report_signal(harness, claim, "bad", 60, slot=True)
    assert (await request_permit(harness, claim, 1)).wait_s > 50


async def test_an_unused_probe(harness: Harness, claim: Claim) -> None:
    """If the call was not made, the probe is returned, and the next one may start at once."""
    await report_signal(harness, claim, "bad", 120)
    await end_wait(harness)
    await request_permit(harness, claim)
    await harness.report_of(claim.shipments[:1], claim.lease_token, "park", api=API, slot=True)
    assert (await request_permit(harness, claim, 1)).may_call


@pytest.mark.parametrize("signal", ["good", "throttled", "denied"])
async def test_a_proper_response_ends_it(harness: Harness, claim: Claim, signal: str) -> None:
    """After its time any response of the API itself ends it, for all calls."""
    await report_signal(harness, claim, "bad", 120)
    await end_wait(harness)
    await request_permit(harness, claim)
    await report_signal(harness, claim, signal, slot=True)
    assert [(await request_permit(harness, claim, n)).may_call for n in range(3)] == [True] * 3


async def test_a_good_response_before_its_time_ends_nothing(harness: Harness, claim: Claim) -> None:
    """The response to a read-back meanwhile does not count for calls."""
    await report_signal(harness, claim, "bad", 120)
    await report_signal(harness, claim, "good", purpose="read")
    assert not (await request_permit(harness, claim)).may_call
