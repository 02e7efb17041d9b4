"""Restarts of the server, and data that it forgets: nothing is lost."""

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from config.settings import Settings
from tests.factories.ledger_harness import Harness, references, until
from worker.lab.embedded_server import EmbeddedServer
from worker.ledger.scripts import DUE_RECHECKS
from worker.redis_client.store import TRANSIENT_ERRORS


def start(server: EmbeddedServer) -> None:
    """Start it again, with every acknowledged write on disk."""
    server.start("--appendfsync", "always")


def restart(server: EmbeddedServer) -> None:
    """Crash and start it again."""
    server.kill()
    start(server)


async def test_a_restart_is_a_change(own_server: EmbeddedServer, own_harness: Harness) -> None:
    """Shipments due before a restart are in doubt, owned ones have lost their lease; the next owner may call."""
    owned = await own_harness.claim("other", "x")
    await own_harness.report(await own_harness.claim("acme", "a"), "park")
    restart(own_server)
    permit = await own_harness.permit(owned.shipments[0], owned.lease_token)
    assert not permit.owned
    claim = await own_harness.claim_all()
    assert [each.shipments[0].progress.open_kind for each in claim] == ["unknown", "unknown"]
    assert [(await own_harness.permit(each.shipments[0], each.lease_token)).owned for each in claim] == [True, True]


async def test_a_restart_is_counted_once(own_server: EmbeddedServer, own_harness: Harness) -> None:
    """A change is recorded once for each start, whichever process detects it."""
    for number in range(3):
        for _ in range(2):
            await own_harness.ledger.watch_clock()
        assert int(await own_harness.field("server", "epoch") or 0) == number
        restart(own_server)
        await own_harness.store.retry(own_harness.redis.ping, 10)


async def test_all_data_is_kept(own_server: EmbeddedServer, own_harness: Harness) -> None:
    """A crash of the server loses neither scheduled nor owned shipments."""
    await own_harness.claim("acme", "held")
    await own_harness.accept("acme", "waiting")
    restart(own_server)
    await own_harness.store.retry(own_harness.redis.ping, 10)
    await own_harness.expire_leases("acme")
    assert [sorted(references(batch)) for batch in await own_harness.claim_all()] == [["held", "waiting"]]


async def test_a_task_waits_for_the_server(own_server: EmbeddedServer, own_harness: Harness) -> None:
    """A task with shipments continues when the server is available again within the lease."""
    await own_harness.accept("acme", "a")
    own_server.kill()
    taking = asyncio.create_task(own_harness.claim_due())
    await until(lambda: own_harness.store._trouble_since is not None)
    await asyncio.to_thread(start, own_server)
    (claim,) = await taking
    assert len(claim.shipments) == 1
    assert own_harness.store._trouble_since is None
    own_server.kill()
    reporting = asyncio.create_task(own_harness.report(claim, "allocated", event="{}"))
    await until(lambda: own_harness.store._trouble_since is not None)
    await asyncio.to_thread(start, own_server)
    assert await reporting == [True]


async def test_a_server_that_stays_unavailable(
    own_server: EmbeddedServer, own_harness: Harness, settings: Settings
) -> None:
    """After a whole lease a task abandons its shipments, which may have another owner by then, and raises nothing."""
    claim = await own_harness.claim("acme", "a")
    own_server.kill()
    url = SecretStr(own_server.url)
    hasty = Harness(settings.model_copy(update={"redis_url": url, "lease_seconds": 0.2}))
    assert not (await hasty.permit(claim.shipments[0], claim.lease_token)).owned
    assert await hasty.report(claim, "allocated", event="{}") == [False]
    with pytest.raises(TRANSIENT_ERRORS):
        await hasty.claim_due()
    await hasty.close()


async def test_scripts_are_loaded_again(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that the server has forgotten is loaded automatically."""
    run = harness.store.run

    async def forgotten(*arguments: Any) -> Any:
        await harness.raw.script_flush()
        return await run(*arguments)

    monkeypatch.setattr(harness.store, "run", forgotten)
    await harness.accept("acme", "a", "b")
    (claim,) = await harness.claim_all()
    assert (await harness.permit(claim.shipments[0], claim.lease_token)).owned
    assert await harness.report(claim, "park", due=harness.ledger.now() + 600) == [True, True]
    assert await harness.pause("acme")
    await harness.make_probe_due("acme")
    assert await harness.ledger.probe("acme") in ("a", "b")
    await harness.ledger.watch_clock()
    assert await harness.ledger.resume("acme") == 1
    assert len(await harness.store.run(DUE_RECHECKS, [], [1, 1])) == 1
