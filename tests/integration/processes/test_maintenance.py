"""The maintenance part of a sweep."""

import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from config.settings import Settings
from tasks.work.ports import Pause
from tests.factories.ledger_harness import Harness
from tests.integration.processes.test_merchant_files import FILE
from worker.lab.embedded_server import free_port
from worker.ledger import keys
from worker.ledger.ledger import Ledger
from worker.ledger.records import server_ms
from worker.observability.heartbeat import heartbeats, publish_heartbeat
from worker.processes.maintenance import run_maintenance
from worker.processes.merchant_files import MerchantFiles


@pytest.fixture
def merchants(settings: Settings) -> MerchantFiles:
    """One merchant whose key is in a file that does not exist."""
    key = f'{{ file = "{settings.merchants_dir / "secret"}" }}'
    (settings.merchants_dir / "acme.toml").write_text(FILE.format(timeout_s=20, key=key))
    return MerchantFiles(settings.merchants_dir, frozenset())


async def paused_and_parked(harness: Harness, merchants: MerchantFiles) -> None:
    """A merchant that is paused with its current file and key, with a parked shipment."""
    account = merchants.account("acme")
    assert account is not None
    await harness.ledger.pause("acme", Pause(why="the key", purpose="allocate"), account.digest)
    await harness.report(await harness.claim("acme", "a"), "park", due=harness.ledger.now() + 600)


async def test_a_sweep_is_recorded(harness: Harness, merchants: MerchantFiles) -> None:
    """The time of the last sweep is the server's."""
    assert await run_maintenance(harness.store, harness.ledger, merchants, harness.settings) == {}
    assert 0 <= await server_ms(harness.redis) - int(await harness.raw.get(keys.LAST_SWEEP)) < 5000


async def test_a_pause_lasts(harness: Harness, merchants: MerchantFiles) -> None:
    """A merchant stays paused while its file and key are unchanged, or while there is no key."""
    await paused_and_parked(harness, merchants)
    (harness.settings.merchants_dir / "other.toml").write_text("nonsense")
    assert await run_maintenance(harness.store, harness.ledger, merchants, harness.settings) == {}
    assert "acme" in await harness.ledger.paused()


async def test_a_key_that_appears(harness: Harness, merchants: MerchantFiles) -> None:
    """When the key appears or changes, the merchant is resumed and its parked shipments are due."""
    for key in ("first", "second"):
        await paused_and_parked(harness, merchants)
        (harness.settings.merchants_dir / "secret").write_text(key)
        assert await run_maintenance(harness.store, harness.ledger, merchants, harness.settings) == {
            "resumed": ["acme"]
        }
        assert await harness.ledger.paused() == {}
        (batch,) = await harness.claim_all()
        await harness.settle([batch])
        await harness.raw.delete("allocation:shipment:acme:a")


async def test_machines_with_different_keys(harness: Harness, merchants: MerchantFiles, tmp_path: Path) -> None:
    """Each machine lifts a pause once, and they do not lift it in turn again and again."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "acme.toml").write_text(FILE.format(timeout_s=20, key=f'{{ file = "{elsewhere / "secret"}" }}'))
    (elsewhere / "secret").write_text("theirs")
    (harness.settings.merchants_dir / "secret").write_text("ours")
    machines = [merchants, MerchantFiles(elsewhere, frozenset())]
    resumed = []
    for refused, other in ((0, 1), (1, 0), (0, 1), (1, 0)):
        account = machines[refused].account("acme")
        assert account is not None
        await harness.ledger.pause("acme", Pause(why="the key", purpose="allocate"), account.digest)
        kept = await run_maintenance(harness.store, harness.ledger, machines[other], harness.settings)
        resumed.append("resumed" in kept)
    assert resumed == [True, True, False, False]


async def test_a_key_that_is_removed(harness: Harness, merchants: MerchantFiles) -> None:
    """Without a key the merchant stays paused, although its key has changed."""
    secret = harness.settings.merchants_dir / "secret"
    secret.write_text("refused")
    await paused_and_parked(harness, merchants)
    secret.unlink()
    assert await run_maintenance(harness.store, harness.ledger, merchants, harness.settings) == {}
    assert "acme" in await harness.ledger.paused()


async def test_a_deleted_file(harness: Harness, merchants: MerchantFiles) -> None:
    """A merchant without a file stays paused until the file exists again."""
    await paused_and_parked(harness, merchants)
    (harness.settings.merchants_dir / "secret").write_text("key")
    path = harness.settings.merchants_dir / "acme.toml"
    text = path.read_text()
    for present in (False, True):
        path.write_text(text) if present else path.unlink()
        merchants._looked_at = float("-inf")
        kept = await run_maintenance(harness.store, harness.ledger, merchants, harness.settings)
        assert kept == ({"resumed": ["acme"]} if present else {})


@pytest.mark.parametrize(
    ("purpose", "has_key", "probed"), [("allocate", True, True), ("", True, False), ("read", False, False)]
)
async def test_which_merchants_are_probed(
    harness: Harness,
    merchants: MerchantFiles,
    purpose: Any,
    has_key: bool,  # noqa: FBT001
    probed: bool,  # noqa: FBT001
) -> None:
    """A sweep probes a merchant that was refused and has a key; not one whose key was or is missing."""
    if has_key:
        (harness.settings.merchants_dir / "secret").write_text("key")
    account = merchants.account("acme")
    assert account is not None
    await harness.ledger.pause("acme", Pause(why="refused", purpose=purpose), account.digest)
    await harness.report(await harness.claim("acme", "a"), "park", due=harness.ledger.now() + 600)
    await harness.make_probe_due("acme")
    await run_maintenance(harness.store, harness.ledger, merchants, harness.settings)
    assert (await harness.claim_all() != []) == probed


async def test_a_paused_merchant_without_a_file(harness: Harness, merchants: MerchantFiles) -> None:
    """A merchant without a file is not probed."""
    await harness.pause("unknown")
    await harness.report(await harness.claim("unknown", "a"), "park", due=harness.ledger.now() + 600)
    await harness.make_probe_due("unknown")
    await run_maintenance(harness.store, harness.ledger, merchants, harness.settings)
    assert await harness.claim_all() == []


async def test_a_wrong_local_clock_expires_nothing(
    harness: Harness, merchants: MerchantFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose own clock is a year ahead trims nothing, forgets no heartbeat and probes no merchant early."""
    (harness.settings.merchants_dir / "secret").write_text("key")
    await paused_and_parked(harness, merchants)
    await publish_heartbeat(harness.store, "worker", 1, {})
    for stream in ("allocated_stream", "failed_stream", "rejected_stream"):
        for _ in range(300):
            await harness.raw.xadd(getattr(harness.settings, stream), {"event": "young"})
    year_ahead = time.time() + 365 * 86400
    monkeypatch.setattr(time, "time", lambda: year_ahead)
    ahead = Ledger(harness.store, harness.settings)
    await run_maintenance(harness.store, ahead, merchants, harness.settings)
    monkeypatch.undo()
    lengths = [
        await harness.raw.xlen(harness.settings.allocated_stream),
        await harness.raw.xlen(harness.settings.rejected_stream),
    ]
    assert lengths == [300, 300]
    assert await heartbeats(harness.redis) != {}
    assert await harness.claim_all() == []


@pytest.mark.parametrize("stream", ["allocated_stream", "failed_stream", "rejected_stream"])
async def test_old_events_are_trimmed(harness: Harness, merchants: MerchantFiles, stream: str) -> None:
    """Allocated, failed and rejected streams lose entries older than `keep_days` and no others, whatever their size."""
    name, now = getattr(harness.settings, stream), await server_ms(harness.redis)
    kept_ms = round(harness.settings.keep_days * 86_400_000)
    pipe = harness.raw.pipeline(transaction=False)
    for number in range(300):
        pipe.xadd(name, {"event": "old"}, id=f"{now - kept_ms - 10_000}-{number + 1}")
    for number in range(1000):
        pipe.xadd(name, {"event": "young"}, id=f"{now - kept_ms + 10_000}-{number + 1}")
    await pipe.execute()
    await run_maintenance(harness.store, harness.ledger, merchants, harness.settings)
    left = [entry[b"event"] for _, entry in await harness.raw.xrange(name)]
    assert left.count(b"young") == 1000
    assert left.count(b"old") < 100


@pytest.mark.parametrize("trim", [False, True])
async def test_orders_are_trimmed_if_wanted(harness: Harness, merchants: MerchantFiles, trim: bool) -> None:  # noqa: FBT001
    """The orders stream is trimmed behind its readers only if the settings allow it; it need not exist."""
    settings = harness.settings.model_copy(update={"trim_orders": trim})
    await run_maintenance(harness.store, harness.ledger, merchants, settings)
    stream = settings.orders_stream
    pipe = harness.raw.pipeline(transaction=False)
    for number in range(300):
        pipe.xadd(stream, {"event": "x"}, id=f"1-{number + 1}")
    pipe.xgroup_create(stream, "readers", id="$")
    await pipe.execute()
    await run_maintenance(harness.store, harness.ledger, merchants, settings)
    assert (await harness.raw.xlen(stream) < 300) == trim
    assert await harness.raw.get(keys.LAST_SWEEP) is not None


async def test_an_unavailable_server(settings: Settings, merchants: MerchantFiles, tmp_path: Path) -> None:
    """With an unavailable server, maintenance returns and raises nothing."""
    url = SecretStr(f"redis://127.0.0.1:{free_port()}/0")
    nowhere = Harness(settings.model_copy(update={"redis_url": url, "merchants_dir": tmp_path}))
    assert await run_maintenance(nowhere.store, nowhere.ledger, merchants, nowhere.settings) == {}
    await nowhere.close()
