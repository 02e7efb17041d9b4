"""An API that says how long to wait: for the merchant who was told so, not for one shipment, and for nobody else."""

import asyncio
from typing import Any

import pytest

from tasks.work.ports import Claim, Permit
from tests.factories.ledger_harness import Harness

API = "api.example#1"
AWAY, SLOW, PROBE = "u:acme", "allocation:slow_read:acme", "allocation:probe:u:acme"


@pytest.fixture
def claim(runner: asyncio.Runner, harness: Harness) -> Claim:
    """Three shipments in a task's hands."""
    return runner.run(harness.claim("acme", "a", "b", "c"))


async def asked(harness: Harness, claim: Claim, shipment: int = 0, **rest: Any) -> Permit:
    """Ask to call for one of the shipments."""
    return await harness.permit(claim.shipments[shipment], claim.lease_token, api=API, **rest)


async def call_record(harness: Harness, claim: Claim, answer: str, retry_after_s: float = 0.0, **rest: Any) -> None:
    """Report an answer to the first shipment's call."""
    told = {"api": API, "signal": answer, "retry_after_s": retry_after_s, **rest}
    await harness.report_of(claim.shipments[:1], claim.lease_token, "keep", **told)


async def its_time_is_over(harness: Harness) -> None:
    """Let the time that the API asked for have passed."""
    await harness.raw.hset("allocation:blocked_until", AWAY, 1)


@pytest.mark.parametrize(
    ("answer", "said_s", "waits_s"),
    [("throttled", 120, 120), ("throttled", 9999, 3600), ("bad", 120, 120), ("bad", 9999, 600), ("foreign", 120, 120)],
)
async def test_nobody_calls_before(harness: Harness, claim: Claim, answer: str, said_s: float, waits_s: float) -> None:
    """After a 429 nothing of the merchant is called for as long as it said, up to an hour; after a 503 ten minutes."""
    await call_record(harness, claim, answer, said_s)
    permit = await asked(harness, claim, 1)
    assert (permit.owned, permit.park) == (True, True)
    assert permit.wait_s == pytest.approx(waits_s, abs=5)
    assert await harness.phase("acme", "b") == "r"


@pytest.mark.parametrize("answer", ["throttled", "bad"])
async def test_it_holds_up_one_merchant(harness: Harness, claim: Claim, answer: str) -> None:
    """Another merchant of the same API, with the same key, goes on."""
    other = await harness.claim("other", "x")
    await call_record(harness, claim, answer, 120)
    assert (await asked(harness, other)).may_call


async def test_a_shorter_word_does_not_shorten_it(harness: Harness, claim: Claim) -> None:
    """Of several answers the one counts that asks for the longest wait."""
    for said_s in (300, 1):
        await call_record(harness, claim, "throttled", said_s)
    assert (await asked(harness, claim, 1)).wait_s > 250


async def test_after_a_429_all_go_on(harness: Harness, claim: Claim) -> None:
    """When the time of a 429 is over everybody may call: no probe is needed, and nothing is left of it."""
    await call_record(harness, claim, "throttled", 120)
    await harness.raw.hset("allocation:blocked_until", "m:acme", 1)
    assert [(await asked(harness, claim, n)).may_call for n in range(3)] == [True] * 3
    assert await harness.raw.exists("allocation:blocked_until") == 0


async def test_an_answer_without_it(harness: Harness, claim: Claim) -> None:
    """A server error that does not say how long holds nobody up."""
    await call_record(harness, claim, "bad")
    assert (await asked(harness, claim, 1)).may_call


@pytest.mark.parametrize("answer", ["good", "denied"])
async def test_other_answers_hold_nobody_up(harness: Harness, claim: Claim, answer: str) -> None:
    """A Retry-After of a queued call, or of a refused key, is no word about other calls."""
    await call_record(harness, claim, answer, 120)
    assert (await asked(harness, claim, 1)).may_call


async def test_slow_read_backs_meanwhile(harness: Harness, claim: Claim) -> None:
    """While an API is away one read-back in ten seconds is made, and no call."""
    await call_record(harness, claim, "bad", 120)
    reads = [await asked(harness, claim, n, purpose="read") for n in range(3)]
    assert [permit.may_call for permit in reads] == [True, False, False]
    assert 5_000 < await harness.raw.pttl(SLOW) <= 10_000
    assert not (await asked(harness, claim)).may_call
    await harness.raw.delete(SLOW)
    assert (await asked(harness, claim, 1, purpose="read")).may_call


async def test_who_may_not_read_yet_comes_back_earlier(harness: Harness) -> None:
    """Read-backs that must wait are spread over the time for which the API is away, and none waits for its end."""
    claim = await harness.claim("acme", *(f"sp_{n}" for n in range(50)))
    await call_record(harness, claim, "bad", 600)
    await asked(harness, claim, purpose="read")
    waits = [(await asked(harness, claim, n, purpose="read")).wait_s for n in range(1, 50)]
    assert 10 <= min(waits) < 200
    assert 400 < max(waits) <= 600
    assert (await asked(harness, claim)).wait_s == pytest.approx(600, abs=5)


async def test_a_slow_read_back_is_not_used_up_in_vain(harness: Harness, claim: Claim) -> None:
    """Who may not read for another reason leaves the slow read-back to others."""
    await call_record(harness, claim, "bad", 120)
    await harness.raw.zadd("allocation:in_flight:acme", {"another": 4e12})
    assert (await asked(harness, claim, purpose="read", in_flight=1)).busy
    assert (await asked(harness, claim, 1, purpose="read")).may_call


async def test_then_one_probe(harness: Harness, claim: Claim) -> None:
    """When the time of a 503 is over one call tries, and the others wait for its answer."""
    await call_record(harness, claim, "bad", 120)
    await its_time_is_over(harness)
    permits = [await asked(harness, claim, n) for n in range(3)]
    assert [permit.may_call for permit in permits] == [True, False, False]
    assert permits[1].wait_s == 1
    await call_record(harness, claim, "bad", 60, slot=True)
    assert (await asked(harness, claim, 1)).wait_s > 50


async def test_a_probe_after_it_that_was_not_used(harness: Harness, claim: Claim) -> None:
    """Who made no call after all gives the probe back, and the next one may try at once."""
    await call_record(harness, claim, "bad", 120)
    await its_time_is_over(harness)
    await asked(harness, claim)
    await harness.report_of(claim.shipments[:1], claim.lease_token, "park", api=API, slot=True)
    assert (await asked(harness, claim, 1)).may_call


@pytest.mark.parametrize("answer", ["good", "throttled", "denied"])
async def test_a_proper_answer_lifts_it(harness: Harness, claim: Claim, answer: str) -> None:
    """After its time any answer of the API itself ends it, for everybody."""
    await call_record(harness, claim, "bad", 120)
    await its_time_is_over(harness)
    await asked(harness, claim)
    await call_record(harness, claim, answer, slot=True)
    assert [(await asked(harness, claim, n)).may_call for n in range(3)] == [True] * 3


async def test_a_good_answer_before_its_time_lifts_nothing(harness: Harness, claim: Claim) -> None:
    """A read-back that is answered meanwhile says nothing about calls."""
    await call_record(harness, claim, "bad", 120)
    await call_record(harness, claim, "good", purpose="read")
    assert not (await asked(harness, claim)).may_call
