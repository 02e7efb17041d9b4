"""The server's clock as round trips tell it: a step of it is noticed, and nothing else is taken for one."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from config.settings import Settings
from tasks.work.clock import boottime
from tests.factories.ledger_harness import Harness, new
from worker.ledger.records import server_ms
from worker.ledger.scripts import CLAIM
from worker.ledger.server_clock import ServerClock
from worker.streams.orders import GROUP

AHEAD_S = 1e9
"""How far the server's clock is ahead of this machine's."""


def call_record(clock: ServerClock, took_s: float = 0.001, step_s: float = 0.0, read_after: float = 0.5) -> bool:
    """A round trip that took so long, its server's clock read after such a part of it; whether that seems a jump."""
    now = boottime()
    asked = now - took_s
    return clock.jumped(asked + took_s * read_after + AHEAD_S + step_s, asked)


@pytest.fixture
def clock() -> ServerClock:
    """One that had its first round trip."""
    clock = ServerClock()
    assert not call_record(clock)
    return clock


def test_the_first_round_trip_is_no_jump() -> None:
    """However wrong this machine's own clock is, the server's first word is just that."""
    assert not ServerClock().jumped(12.0, boottime())


@pytest.mark.parametrize("step_s", [-3600, -1.1, 1.1, 3600])
def test_a_step_is_a_jump_once(clock: ServerClock, step_s: float) -> None:
    """A step of more than a second either way is noticed across two round trips, and is the clock from then on."""
    assert call_record(clock, step_s=step_s)
    assert not call_record(clock, step_s=step_s)
    assert clock.now() == pytest.approx(boottime() + AHEAD_S + step_s, abs=0.1)


@pytest.mark.parametrize("step_s", [-0.9, 0.0, 0.9])
def test_a_small_step_is_none(clock: ServerClock, step_s: float) -> None:
    """What a clock is corrected by in passing counts for nothing."""
    assert not call_record(clock, step_s=step_s)


@pytest.mark.parametrize("read_after", [0.0, 0.5, 1.0])
def test_a_slow_round_trip_is_no_jump(clock: ServerClock, read_after: float) -> None:
    """Whether question or answer took long, or this process was stopped meanwhile: the clock is the same."""
    assert not call_record(clock, took_s=90, read_after=read_after)
    assert clock.now() == pytest.approx(boottime() + AHEAD_S, abs=0.1)
    assert clock.earliest() == pytest.approx(boottime() + AHEAD_S, abs=0.1)
    assert not call_record(clock)


def test_a_step_hidden_in_a_slow_round_trip(clock: ServerClock) -> None:
    """A step that a slow answer could explain is noticed at the next quick one."""
    assert not call_record(clock, took_s=90, read_after=0.5, step_s=30)
    assert call_record(clock, step_s=30)


def test_now_lies_between_its_bounds(clock: ServerClock) -> None:
    """The time at the latest is no earlier than the time at the earliest, and both are near."""
    for took_s in (0.01, 0.5, 0.002, 90):
        call_record(clock, took_s=took_s)
        assert 0 <= clock.now() - clock.earliest() < 0.1


def server_was(harness: Harness, seconds: float) -> None:
    """Let the server's clock have been so far ahead of what it is now, at the last round trip."""
    clock = harness.ledger._clock
    clock._least_s += seconds
    clock._most_s += seconds


@pytest.mark.parametrize("was_s", [-3600, 3600])
async def test_a_take_notes_a_jump(harness: Harness, was_s: float) -> None:
    """Who takes shipments and sees that the clock was set notes it first, and then learns what is in doubt."""
    await harness.report(await harness.claim("acme", "a"), "park")
    await harness.raw.hset("allocation:shipment:acme:a", "due", await server_ms(harness.redis) + round(was_s * 1000))
    server_was(harness, was_s)
    (claim,) = await harness.claim_all()
    assert await harness.field("server", "epoch") == "1"
    assert claim.shipments[0].progress.open_kind == "unknown"
    assert claim.shipments[0].progress.open_at == pytest.approx(harness.ledger.now(), abs=1)
    assert (await harness.permit(claim.shipments[0], claim.lease_token)).owned


async def test_a_jump_that_is_noted_meanwhile(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A take whose answer is from before a note that the same process has just made asks again."""
    await harness.accept("acme", "a")
    await harness.ledger.watch_clock()
    run = harness.store.run

    async def noted_meanwhile(*asked: Any) -> Any:
        answer = await run(*asked)
        if asked[0] is CLAIM:
            monkeypatch.undo()
            server_was(harness, 3600)
            await harness.ledger.watch_clock()
        return answer

    monkeypatch.setattr(harness.store, "run", noted_meanwhile)
    (claim,) = await harness.claim_due()
    assert claim.shipments[0].progress.open_kind == "unknown"
    assert (await harness.permit(claim.shipments[0], claim.lease_token)).owned


async def test_what_was_due_after_a_step_ahead(harness: Harness) -> None:
    """What became due only by the step was not due before it, so nobody called for it."""
    await harness.report(await harness.claim("acme", "a"), "park")
    await harness.raw.hset("allocation:shipment:acme:a", "due", await server_ms(harness.redis) - 1_800_000)
    server_was(harness, -3600)
    (batch,) = await harness.claim_due()
    held = batch.shipments[0]
    assert (held.progress.open_kind, await harness.field("server", "epoch")) == (None, "1")


async def test_a_jump_ends_leases(harness: Harness) -> None:
    """A lease from before a jump gives no permit once the jump is noted, in whichever direction it was."""
    for was_s in (-3600, 3600):
        claim = await harness.claim(f"merchant{was_s}", "a")
        server_was(harness, was_s)
        await harness.ledger.watch_clock()
        assert not (await harness.permit(claim.shipments[0], claim.lease_token)).owned


@pytest.fixture
def others(settings: Settings, runner: asyncio.Runner) -> Iterator[list[Harness]]:
    """Other processes that know the server."""
    others = [Harness(settings) for _ in range(3)]
    for other in others:
        runner.run(other.ledger.watch_clock())
    yield others
    for other in others:
        runner.run(other.close())


async def test_many_see_the_same_jump(harness: Harness, others: list[Harness]) -> None:
    """A jump that somebody has noted is not noted again by those who notice it later; the next jump is another one."""
    for epoch in (1, 2):
        for other in others:
            server_was(other, 3600)
        for other in others:
            await other.ledger.watch_clock()
        assert await harness.field("server", "epoch") == str(epoch)


async def test_who_knew_the_clock_before_says_until_when(harness: Harness, others: list[Harness]) -> None:
    """A server that takes over with a clock that is behind: whoever knew the other clock says what was due by it."""
    knows, *_ = others
    due = (await server_ms(harness.redis)) / 1000 + 30
    await harness.report(await harness.claim("acme", "a"), "park", due=due)
    await harness.simulate_server_change()
    await harness.make_due("acme", (await server_ms(harness.redis)) - 1)
    server_was(knows, 60)
    (claim,) = await knows.claim_due()
    held = claim.shipments[0]
    assert (held.progress.open_kind, await harness.field("server", "epoch")) == ("unknown", "1")


async def test_orders_after_a_step_back(harness: Harness) -> None:
    """Orders that are accepted after the jump are new, unless they may be sent again, though it is earlier now."""
    await harness.ledger.watch_clock()
    server_was(harness, 3600)
    await harness.ledger.watch_clock()
    changed_s = int(await harness.field("server", "epoch_since")) / 1000
    orders = [new("acme", r)[0]._replace(earliest_at=changed_s + age) for r, age in (("old", 0), ("new", 600))]
    await harness.ledger.accept(orders, [], [], GROUP)
    (batch,) = await harness.claim_due()
    kinds = {held.reference: held.progress.open_kind for held in batch.shipments}
    assert kinds == {"old": "unknown", "new": None}
