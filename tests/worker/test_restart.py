"""The server goes away and comes back, or forgets something: nothing is lost, and nothing is taken for granted."""

import asyncio

import pytest
from pydantic import SecretStr

from config.settings import Settings
from tasks.shipment import Progress
from tests.worker.bench import Bench, until
from worker.server import EmbeddedServer
from worker.store import PASSING


def restart(server: EmbeddedServer) -> None:
    """Let it crash and come back."""
    server.kill()
    server.start()


async def taken_after_lease(bench: Bench) -> Progress:
    """How far the one shipment has come, once its lease is over and it is taken again."""
    await bench.end_leases("acme")
    (batch,) = await bench.claim_all()
    (held,) = (await bench.ledger.take(batch)).shipments
    return held.progress


async def test_the_first_start_leaves_no_doubt(own_bench: Bench) -> None:
    """A server that has always been there has forgotten nothing."""
    taken = await own_bench.take("acme", "a")
    assert not taken.shipments[0].progress.doubt


async def test_a_restart_leaves_a_doubt(own_server: EmbeddedServer, own_bench: Bench) -> None:
    """What was under way before a restart is read back first, as a call may be forgotten; a report ends the doubt."""
    taken = await own_bench.take("acme", "a")
    await own_bench.report(taken, "park")
    restart(own_server)
    (batch,) = await own_bench.store.insist(own_bench.claim_all, 10)
    again = await own_bench.ledger.take(batch)
    assert again.shipments[0].progress == Progress(doubt=True)
    read_back = again.shipments[0].with_progress(doubt=False)
    await own_bench.next_millisecond()
    await own_bench.report_of([read_back], again.task, "keep")
    assert await taken_after_lease(own_bench) == Progress()


async def test_who_arrives_after_a_restart(own_server: EmbeddedServer, own_bench: Bench) -> None:
    """For a minute after a restart a new shipment may be one that was forgotten, and is read back; then no more."""
    await own_bench.take("other", "x")
    restart(own_server)
    await own_bench.store.insist(lambda: own_bench.accept("acme", "a"), 10)
    (batch,) = [batch for batch in await own_bench.claim_all() if batch.merchant == "acme"]
    assert (await own_bench.ledger.take(batch)).shipments[0].progress.doubt
    await own_bench.raw.hset("allocation:server", "changed", 1)
    assert await taken_after_lease(own_bench) == Progress()


async def test_everything_is_still_there(own_server: EmbeddedServer, own_bench: Bench) -> None:
    """A crash of the server loses neither what waits nor what is held."""
    await own_bench.take("acme", "held")
    await own_bench.accept("acme", "waiting")
    restart(own_server)
    await own_bench.store.insist(own_bench.redis.ping, 10)
    await own_bench.end_leases("acme")
    assert [sorted(batch.references) for batch in await own_bench.claim_all()] == [["held", "waiting"]]


async def test_a_task_waits_for_the_server(own_server: EmbeddedServer, own_bench: Bench) -> None:
    """Whoever holds shipments goes on when the server is back, within the lease."""
    await own_bench.accept("acme", "a")
    (batch,) = await own_bench.claim_all()
    own_server.kill()
    taking = asyncio.create_task(own_bench.ledger.take(batch))
    await until(lambda: own_bench.store._trouble_since is not None)
    await asyncio.to_thread(own_server.start)
    taken = await taking
    assert len(taken.shipments) == 1
    assert own_bench.store._trouble_since is None
    own_server.kill()
    reporting = asyncio.create_task(own_bench.report(taken, "allocated", event="{}"))
    await until(lambda: own_bench.store._trouble_since is not None)
    await asyncio.to_thread(own_server.start)
    assert await reporting == [True]


async def test_a_server_that_stays_away(own_server: EmbeddedServer, own_bench: Bench, settings: Settings) -> None:
    """After a whole lease a task gives its shipments up, as they may be another's by then, and raises nothing."""
    taken = await own_bench.take("acme", "a")
    own_server.kill()
    url = SecretStr(own_server.url)
    hasty = Bench(settings.model_copy(update={"redis_url": url, "lease_seconds": 0.2}))
    assert not (await hasty.permit(taken.shipments[0], taken.task)).held
    assert await hasty.report(taken, "allocated", event="{}") == [False]
    with pytest.raises(PASSING):
        await hasty.ledger.claim(1)
    await hasty.close()


async def test_scripts_that_were_forgotten(bench: Bench) -> None:
    """Every script is loaded anew by itself when the server does not know it any more."""

    async def forget() -> None:
        await bench.raw.script_flush()

    await bench.accept("acme", "a")
    await forget()
    await bench.accept("acme", "b")
    await forget()
    (batch,) = await bench.claim_all()
    await forget()
    taken = await bench.ledger.take(batch)
    await forget()
    assert (await bench.permit(taken.shipments[0], taken.task)).held
    await forget()
    assert await bench.report(taken, "park", due=bench.ledger.now() + 600) == [True, True]
    await forget()
    assert await bench.ledger.resume("acme") == 2
