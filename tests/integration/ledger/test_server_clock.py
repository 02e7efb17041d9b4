"""The server's clock from round trips: jumps are detected, without false alarms."""

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


def round_trip(clock: ServerClock, took_s: float = 0.001, step_s: float = 0.0, read_after: float = 0.5) -> bool:
    """A round trip of this duration, with the server's clock read after a part of it; whether it is a jump."""
    now = boottime()
    arguments = now - took_s
    return clock.jumped(arguments + took_s * read_after + AHEAD_S + step_s, arguments)


@pytest.fixture
def clock() -> ServerClock:
    """A clock after its first round trip."""
    clock = ServerClock()
    assert not round_trip(clock)
    return clock


def test_the_first_round_trip_is_no_jump() -> None:
    """However wrong this machine's own clock is, the first time from the server is no jump."""
    assert not ServerClock().jumped(12.0, boottime())


@pytest.mark.parametrize("step_s", [-3600, -1.1, 1.1, 3600])
def test_a_step_is_a_jump_once(clock: ServerClock, step_s: float) -> None:
    """A jump of more than a second in either direction is detected across two round trips, once."""
    assert round_trip(clock, step_s=step_s)
    assert not round_trip(clock, step_s=step_s)
    assert clock.now() == pytest.approx(boottime() + AHEAD_S + step_s, abs=0.1)


@pytest.mark.parametrize("step_s", [-0.9, 0.0, 0.9])
def test_a_small_step_is_no_jump(clock: ServerClock, step_s: float) -> None:
    """Gradual clock corrections do not count."""
    assert not round_trip(clock, step_s=step_s)


@pytest.mark.parametrize("read_after", [0.0, 0.5, 1.0])
def test_a_slow_round_trip_is_no_jump(clock: ServerClock, read_after: float) -> None:
    """Whether the request or the reply was slow, or this process was stopped meanwhile: the clock is the same."""
    assert not round_trip(clock, took_s=90, read_after=read_after)
    assert clock.now() == pytest.approx(boottime() + AHEAD_S, abs=0.1)
    assert clock.earliest() == pytest.approx(boottime() + AHEAD_S, abs=0.1)
    assert not round_trip(clock)


def test_a_step_hidden_in_a_slow_round_trip(clock: ServerClock) -> None:
    """A step that a slow reply could explain is detected in the next fast one."""
    assert not round_trip(clock, took_s=90, read_after=0.5, step_s=30)
    assert round_trip(clock, step_s=30)


def test_now_is_between_its_bounds(clock: ServerClock) -> None:
    """The upper bound of the time is not below the lower bound, and both are close."""
    for took_s in (0.01, 0.5, 0.002, 90):
        round_trip(clock, took_s=took_s)
        assert 0 <= clock.now() - clock.earliest() < 0.1


def shift_clock(harness: Harness, seconds: float) -> None:
    """Let the server's clock have been ahead by this much at the last round trip."""
    clock = harness.ledger._clock
    clock._least_s += seconds
    clock._most_s += seconds


@pytest.mark.parametrize("was_s", [-3600, 3600])
async def test_a_claim_records_a_jump(harness: Harness, was_s: float) -> None:
    """A claim that detects a jump records it first, and then returns which shipments are in doubt."""
    await harness.report(await harness.claim("acme", "a"), "park")
    await harness.raw.hset("allocation:shipment:acme:a", "due", await server_ms(harness.redis) + round(was_s * 1000))
    shift_clock(harness, was_s)
    (claim,) = await harness.claim_all()
    assert await harness.field("server", "epoch") == "1"
    assert claim.shipments[0].progress.open_kind == "unknown"
    assert claim.shipments[0].progress.open_at == pytest.approx(harness.ledger.now(), abs=1)
    assert (await harness.permit(claim.shipments[0], claim.lease_token)).owned


async def test_a_jump_that_is_recorded_meanwhile(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim whose reply is from before the same process recorded a jump is repeated."""
    await harness.accept("acme", "a")
    await harness.ledger.watch_clock()
    run = harness.store.run

    async def recorded_meanwhile(*arguments: Any) -> Any:
        reply = await run(*arguments)
        if arguments[0] is CLAIM:
            monkeypatch.undo()
            shift_clock(harness, 3600)
            await harness.ledger.watch_clock()
        return reply

    monkeypatch.setattr(harness.store, "run", recorded_meanwhile)
    (claim,) = await harness.claim_due()
    assert claim.shipments[0].progress.open_kind == "unknown"
    assert (await harness.permit(claim.shipments[0], claim.lease_token)).owned


async def test_shipments_due_after_a_step_ahead(harness: Harness) -> None:
    """A shipment that became due only by the step was not due before it, so it was not called for."""
    await harness.report(await harness.claim("acme", "a"), "park")
    await harness.raw.hset("allocation:shipment:acme:a", "due", await server_ms(harness.redis) - 1_800_000)
    shift_clock(harness, -3600)
    (batch,) = await harness.claim_due()
    held = batch.shipments[0]
    assert (held.progress.open_kind, await harness.field("server", "epoch")) == (None, "1")


async def test_a_jump_ends_leases(harness: Harness) -> None:
    """A lease from before a jump gives no permit once the jump is recorded, in either direction."""
    for was_s in (-3600, 3600):
        claim = await harness.claim(f"merchant{was_s}", "a")
        shift_clock(harness, was_s)
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


async def test_many_processes_detect_the_same_jump(harness: Harness, others: list[Harness]) -> None:
    """A jump that was recorded is not recorded again by later processes; the next jump is another one."""
    for epoch in (1, 2):
        for other in others:
            shift_clock(other, 3600)
        for other in others:
            await other.ledger.watch_clock()
        assert await harness.field("server", "epoch") == str(epoch)


async def test_the_previous_clock_decides_what_was_due(harness: Harness, others: list[Harness]) -> None:
    """If a server with a slower clock takes over, a process that knows the other clock decides what was due."""
    knows, *_ = others
    due = (await server_ms(harness.redis)) / 1000 + 30
    await harness.report(await harness.claim("acme", "a"), "park", due=due)
    await harness.simulate_server_change()
    await harness.make_due("acme", (await server_ms(harness.redis)) - 1)
    shift_clock(knows, 60)
    (claim,) = await knows.claim_due()
    held = claim.shipments[0]
    assert (held.progress.open_kind, await harness.field("server", "epoch")) == ("unknown", "1")


async def test_orders_after_a_step_back(harness: Harness) -> None:
    """Orders accepted after the jump are new, unless they may be repeated ones, although the time is earlier now."""
    await harness.ledger.watch_clock()
    shift_clock(harness, 3600)
    await harness.ledger.watch_clock()
    changed_s = int(await harness.field("server", "epoch_since")) / 1000
    orders = [new("acme", r)[0]._replace(earliest_at=changed_s + age) for r, age in (("old", 0), ("new", 600))]
    await harness.ledger.accept(orders, [], [], GROUP)
    (batch,) = await harness.claim_due()
    kinds = {held.reference: held.progress.open_kind for held in batch.shipments}
    assert kinds == {"old": "unknown", "new": None}
