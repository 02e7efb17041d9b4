"""An API that says how long to wait: for the merchant who was told so, not for one shipment, and for nobody else."""

import asyncio
from typing import Any

import pytest

from tasks.work.ports import Permit, Taken
from tests.factories.ledger_harness import Bench

API = "api.example#1"
AWAY, SLOW, PROBE = "u:acme", "allocation:slow:acme", "allocation:probe:u:acme"


@pytest.fixture
def taken(runner: asyncio.Runner, bench: Bench) -> Taken:
    """Three shipments in a task's hands."""
    return runner.run(bench.take("acme", "a", "b", "c"))


async def asked(bench: Bench, taken: Taken, shipment: int = 0, **rest: Any) -> Permit:
    """Ask to call for one of the shipments."""
    return await bench.permit(taken.shipments[shipment], taken.task, api=API, **rest)


async def answered(bench: Bench, taken: Taken, answer: str, retry_after_s: float = 0.0, **rest: Any) -> None:
    """Report an answer to the first shipment's call."""
    told = {"api": API, "answer": answer, "retry_after_s": retry_after_s, **rest}
    await bench.report_of(taken.shipments[:1], taken.task, "keep", **told)


async def its_time_is_over(bench: Bench) -> None:
    """Let the time that the API asked for have passed."""
    await bench.raw.hset("allocation:not_before", AWAY, 1)


@pytest.mark.parametrize(
    ("answer", "said_s", "waits_s"),
    [("throttled", 120, 120), ("throttled", 9999, 3600), ("bad", 120, 120), ("bad", 9999, 600), ("foreign", 120, 120)],
)
async def test_nobody_calls_before(bench: Bench, taken: Taken, answer: str, said_s: float, waits_s: float) -> None:
    """After a 429 nothing of the merchant is called for as long as it said, up to an hour; after a 503 ten minutes."""
    await answered(bench, taken, answer, said_s)
    permit = await asked(bench, taken, 1)
    assert (permit.held, permit.park) == (True, True)
    assert permit.wait_s == pytest.approx(waits_s, abs=5)
    assert await bench.phase("acme", "b") == "r"


@pytest.mark.parametrize("answer", ["throttled", "bad"])
async def test_it_holds_up_one_merchant(bench: Bench, taken: Taken, answer: str) -> None:
    """Another merchant of the same API, with the same key, goes on."""
    other = await bench.take("other", "x")
    await answered(bench, taken, answer, 120)
    assert (await asked(bench, other)).may_call


async def test_a_shorter_word_does_not_shorten_it(bench: Bench, taken: Taken) -> None:
    """Of several answers the one counts that asks for the longest wait."""
    for said_s in (300, 1):
        await answered(bench, taken, "throttled", said_s)
    assert (await asked(bench, taken, 1)).wait_s > 250


async def test_after_a_429_all_go_on(bench: Bench, taken: Taken) -> None:
    """When the time of a 429 is over everybody may call: no probe is needed, and nothing is left of it."""
    await answered(bench, taken, "throttled", 120)
    await bench.raw.hset("allocation:not_before", "m:acme", 1)
    assert [(await asked(bench, taken, n)).may_call for n in range(3)] == [True] * 3
    assert await bench.raw.exists("allocation:not_before") == 0


async def test_an_answer_without_it(bench: Bench, taken: Taken) -> None:
    """A server error that does not say how long holds nobody up."""
    await answered(bench, taken, "bad")
    assert (await asked(bench, taken, 1)).may_call


@pytest.mark.parametrize("answer", ["good", "denied"])
async def test_other_answers_hold_nobody_up(bench: Bench, taken: Taken, answer: str) -> None:
    """A Retry-After of a queued call, or of a refused key, is no word about other calls."""
    await answered(bench, taken, answer, 120)
    assert (await asked(bench, taken, 1)).may_call


async def test_slow_read_backs_meanwhile(bench: Bench, taken: Taken) -> None:
    """While an API is away one read-back in ten seconds is made, and no call."""
    await answered(bench, taken, "bad", 120)
    reads = [await asked(bench, taken, n, purpose="read") for n in range(3)]
    assert [permit.may_call for permit in reads] == [True, False, False]
    assert 5_000 < await bench.raw.pttl(SLOW) <= 10_000
    assert not (await asked(bench, taken)).may_call
    await bench.raw.delete(SLOW)
    assert (await asked(bench, taken, 1, purpose="read")).may_call


async def test_who_may_not_read_yet_comes_back_earlier(bench: Bench) -> None:
    """Read-backs that must wait are spread over the time for which the API is away, and none waits for its end."""
    taken = await bench.take("acme", *(f"sp_{n}" for n in range(50)))
    await answered(bench, taken, "bad", 600)
    await asked(bench, taken, purpose="read")
    waits = [(await asked(bench, taken, n, purpose="read")).wait_s for n in range(1, 50)]
    assert 10 <= min(waits) < 200
    assert 400 < max(waits) <= 600
    assert (await asked(bench, taken)).wait_s == pytest.approx(600, abs=5)


async def test_a_slow_read_back_is_not_used_up_in_vain(bench: Bench, taken: Taken) -> None:
    """Who may not read for another reason leaves the slow read-back to others."""
    await answered(bench, taken, "bad", 120)
    await bench.raw.zadd("allocation:on_wire:acme", {"another": 4e12})
    assert (await asked(bench, taken, purpose="read", in_flight=1)).busy
    assert (await asked(bench, taken, 1, purpose="read")).may_call


async def test_then_one_probe(bench: Bench, taken: Taken) -> None:
    """When the time of a 503 is over one call tries, and the others wait for its answer."""
    await answered(bench, taken, "bad", 120)
    await its_time_is_over(bench)
    permits = [await asked(bench, taken, n) for n in range(3)]
    assert [permit.may_call for permit in permits] == [True, False, False]
    assert permits[1].wait_s == 1
    await answered(bench, taken, "bad", 60, place=True)
    assert (await asked(bench, taken, 1)).wait_s > 50


async def test_a_probe_after_it_that_was_not_used(bench: Bench, taken: Taken) -> None:
    """Who made no call after all gives the probe back, and the next one may try at once."""
    await answered(bench, taken, "bad", 120)
    await its_time_is_over(bench)
    await asked(bench, taken)
    await bench.report_of(taken.shipments[:1], taken.task, "park", api=API, place=True)
    assert (await asked(bench, taken, 1)).may_call


@pytest.mark.parametrize("answer", ["good", "throttled", "denied"])
async def test_a_proper_answer_lifts_it(bench: Bench, taken: Taken, answer: str) -> None:
    """After its time any answer of the API itself ends it, for everybody."""
    await answered(bench, taken, "bad", 120)
    await its_time_is_over(bench)
    await asked(bench, taken)
    await answered(bench, taken, answer, place=True)
    assert [(await asked(bench, taken, n)).may_call for n in range(3)] == [True] * 3


async def test_a_good_answer_before_its_time_lifts_nothing(bench: Bench, taken: Taken) -> None:
    """A read-back that is answered meanwhile says nothing about calls."""
    await answered(bench, taken, "bad", 120)
    await answered(bench, taken, "good", purpose="read")
    assert not (await asked(bench, taken)).may_call
