"""An API that says how long to wait: for the merchant who was told so, not for one shipment, and for nobody else."""

import asyncio
from typing import Any

import pytest

from tasks.work.ports import Claim, Permit
from tests.factories.ledger_harness import Bench

API = "api.example#1"
AWAY, SLOW, PROBE = "u:acme", "allocation:slow:acme", "allocation:probe:u:acme"


@pytest.fixture
def claim(runner: asyncio.Runner, bench: Bench) -> Claim:
    """Three shipments in a task's hands."""
    return runner.run(bench.take("acme", "a", "b", "c"))


async def asked(bench: Bench, claim: Claim, shipment: int = 0, **rest: Any) -> Permit:
    """Ask to call for one of the shipments."""
    return await bench.permit(claim.shipments[shipment], claim.lease_token, api=API, **rest)


async def call_record(bench: Bench, claim: Claim, answer: str, retry_after_s: float = 0.0, **rest: Any) -> None:
    """Report an answer to the first shipment's call."""
    told = {"api": API, "answer": answer, "retry_after_s": retry_after_s, **rest}
    await bench.report_of(claim.shipments[:1], claim.lease_token, "keep", **told)


async def its_time_is_over(bench: Bench) -> None:
    """Let the time that the API asked for have passed."""
    await bench.raw.hset("allocation:not_before", AWAY, 1)


@pytest.mark.parametrize(
    ("answer", "said_s", "waits_s"),
    [("throttled", 120, 120), ("throttled", 9999, 3600), ("bad", 120, 120), ("bad", 9999, 600), ("foreign", 120, 120)],
)
async def test_nobody_calls_before(bench: Bench, claim: Claim, answer: str, said_s: float, waits_s: float) -> None:
    """After a 429 nothing of the merchant is called for as long as it said, up to an hour; after a 503 ten minutes."""
    await call_record(bench, claim, answer, said_s)
    permit = await asked(bench, claim, 1)
    assert (permit.owned, permit.park) == (True, True)
    assert permit.wait_s == pytest.approx(waits_s, abs=5)
    assert await bench.phase("acme", "b") == "r"


@pytest.mark.parametrize("answer", ["throttled", "bad"])
async def test_it_holds_up_one_merchant(bench: Bench, claim: Claim, answer: str) -> None:
    """Another merchant of the same API, with the same key, goes on."""
    other = await bench.take("other", "x")
    await call_record(bench, claim, answer, 120)
    assert (await asked(bench, other)).may_call


async def test_a_shorter_word_does_not_shorten_it(bench: Bench, claim: Claim) -> None:
    """Of several answers the one counts that asks for the longest wait."""
    for said_s in (300, 1):
        await call_record(bench, claim, "throttled", said_s)
    assert (await asked(bench, claim, 1)).wait_s > 250


async def test_after_a_429_all_go_on(bench: Bench, claim: Claim) -> None:
    """When the time of a 429 is over everybody may call: no probe is needed, and nothing is left of it."""
    await call_record(bench, claim, "throttled", 120)
    await bench.raw.hset("allocation:not_before", "m:acme", 1)
    assert [(await asked(bench, claim, n)).may_call for n in range(3)] == [True] * 3
    assert await bench.raw.exists("allocation:not_before") == 0


async def test_an_answer_without_it(bench: Bench, claim: Claim) -> None:
    """A server error that does not say how long holds nobody up."""
    await call_record(bench, claim, "bad")
    assert (await asked(bench, claim, 1)).may_call


@pytest.mark.parametrize("answer", ["good", "denied"])
async def test_other_answers_hold_nobody_up(bench: Bench, claim: Claim, answer: str) -> None:
    """A Retry-After of a queued call, or of a refused key, is no word about other calls."""
    await call_record(bench, claim, answer, 120)
    assert (await asked(bench, claim, 1)).may_call


async def test_slow_read_backs_meanwhile(bench: Bench, claim: Claim) -> None:
    """While an API is away one read-back in ten seconds is made, and no call."""
    await call_record(bench, claim, "bad", 120)
    reads = [await asked(bench, claim, n, purpose="read") for n in range(3)]
    assert [permit.may_call for permit in reads] == [True, False, False]
    assert 5_000 < await bench.raw.pttl(SLOW) <= 10_000
    assert not (await asked(bench, claim)).may_call
    await bench.raw.delete(SLOW)
    assert (await asked(bench, claim, 1, purpose="read")).may_call


async def test_who_may_not_read_yet_comes_back_earlier(bench: Bench) -> None:
    """Read-backs that must wait are spread over the time for which the API is away, and none waits for its end."""
    claim = await bench.take("acme", *(f"sp_{n}" for n in range(50)))
    await call_record(bench, claim, "bad", 600)
    await asked(bench, claim, purpose="read")
    waits = [(await asked(bench, claim, n, purpose="read")).wait_s for n in range(1, 50)]
    assert 10 <= min(waits) < 200
    assert 400 < max(waits) <= 600
    assert (await asked(bench, claim)).wait_s == pytest.approx(600, abs=5)


async def test_a_slow_read_back_is_not_used_up_in_vain(bench: Bench, claim: Claim) -> None:
    """Who may not read for another reason leaves the slow read-back to others."""
    await call_record(bench, claim, "bad", 120)
    await bench.raw.zadd("allocation:on_wire:acme", {"another": 4e12})
    assert (await asked(bench, claim, purpose="read", in_flight=1)).busy
    assert (await asked(bench, claim, 1, purpose="read")).may_call


async def test_then_one_probe(bench: Bench, claim: Claim) -> None:
    """When the time of a 503 is over one call tries, and the others wait for its answer."""
    await call_record(bench, claim, "bad", 120)
    await its_time_is_over(bench)
    permits = [await asked(bench, claim, n) for n in range(3)]
    assert [permit.may_call for permit in permits] == [True, False, False]
    assert permits[1].wait_s == 1
    await call_record(bench, claim, "bad", 60, place=True)
    assert (await asked(bench, claim, 1)).wait_s > 50


async def test_a_probe_after_it_that_was_not_used(bench: Bench, claim: Claim) -> None:
    """Who made no call after all gives the probe back, and the next one may try at once."""
    await call_record(bench, claim, "bad", 120)
    await its_time_is_over(bench)
    await asked(bench, claim)
    await bench.report_of(claim.shipments[:1], claim.lease_token, "park", api=API, place=True)
    assert (await asked(bench, claim, 1)).may_call


@pytest.mark.parametrize("answer", ["good", "throttled", "denied"])
async def test_a_proper_answer_lifts_it(bench: Bench, claim: Claim, answer: str) -> None:
    """After its time any answer of the API itself ends it, for everybody."""
    await call_record(bench, claim, "bad", 120)
    await its_time_is_over(bench)
    await asked(bench, claim)
    await call_record(bench, claim, answer, place=True)
    assert [(await asked(bench, claim, n)).may_call for n in range(3)] == [True] * 3


async def test_a_good_answer_before_its_time_lifts_nothing(bench: Bench, claim: Claim) -> None:
    """A read-back that is answered meanwhile says nothing about calls."""
    await call_record(bench, claim, "bad", 120)
    await call_record(bench, claim, "good", purpose="read")
    assert not (await asked(bench, claim)).may_call
