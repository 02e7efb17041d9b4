"""The last valid version of a merchant file survives a restart: it is used while the file is invalid."""

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.factories.ledger_harness import Harness
from tests.factories.merchant_files import SERVICE, V2_API
from worker.ledger.stored_files import read_stored, read_version
from worker.processes.merchant_files import MerchantFiles
from worker.processes.stored_files import StoredFiles

FILE = V2_API + SERVICE
OTHER = FILE.replace('"A"', '"B"')


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key that the files name: a file without its key is not stored."""
    monkeypatch.setenv("ACME_KEY", "opens-nothing")


def path(harness: Harness) -> Path:
    """The file of the merchant."""
    return harness.settings.merchants_dir / "acme.toml"


async def started(harness: Harness) -> MerchantFiles:
    """The files of a process that has just started and synchronised them with the ledger."""
    merchants = MerchantFiles(harness.settings.merchants_dir, frozenset())
    await StoredFiles(harness.store, merchants, harness.settings).sync()
    return merchants


async def test_a_restart_with_an_invalid_file(harness: Harness) -> None:
    """A process that starts while the file is invalid uses the stored version, until the file is fixed."""
    path(harness).write_text(FILE)
    before = (await started(harness)).get("acme")
    path(harness).write_text("[api")
    merchants = await started(harness)
    assert merchants.get("acme") == before
    assert [*merchants.problems] == ["acme.toml"]
    path(harness).write_text(OTHER)
    merchants._looked_at = float("-inf")
    fixed = merchants.get("acme")
    assert fixed is not None
    assert fixed.file.allocation.strategy.table == {"carrier_service": "B"}


async def test_never_valid_or_deleted(harness: Harness) -> None:
    """A merchant whose file never was valid, or was deleted, has none, although the ledger keeps a version."""
    path(harness).write_text("[api")
    assert (await started(harness)).get("acme") is None
    path(harness).write_text(FILE)
    await started(harness)
    path(harness).unlink()
    assert (await started(harness)).get("acme") is None
    assert [*await read_stored(harness.redis, ["acme"])] == ["acme"]


async def test_earlier_versions(harness: Harness) -> None:
    """A version that was replaced is kept by its digest, for a limited time."""
    path(harness).write_text(FILE)
    first = (await started(harness)).get("acme")
    path(harness).write_text(OTHER)
    second = (await started(harness)).get("acme")
    assert first is not None
    assert second is not None
    (current,) = (await read_stored(harness.redis, ["acme"])).values()
    assert (current.version, current.text) == (second.version, OTHER)
    earlier = await read_version(harness.redis, "acme", first.version)
    assert earlier is not None
    assert earlier.text == FILE
    assert await harness.raw.ttl(f"allocation:merchant_file:{first.version}") > 0


async def test_no_key_is_stored(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose text contains its API key, as in a comment, is not stored; one key of the ledger has it, or none."""
    monkeypatch.setenv("ACME_KEY", "geheim-1234")
    path(harness).write_text(f"# the key is geheim-1234\n{FILE}")
    await started(harness)
    assert await read_stored(harness.redis, ["acme"]) == {}
    path(harness).write_text(FILE)
    await started(harness)
    everything: Any = [await harness.raw.dump(key) for key in await harness.raw.keys("*")]
    assert everything
    assert not [dump for dump in everything if b"geheim-1234" in dump]


async def test_a_file_without_its_key_is_not_stored(harness: Harness) -> None:
    """The key may have been typed in place of the name of its file, which is then a valid name."""
    path(harness).write_text(FILE.replace('{ env = "ACME_KEY" }', '{ file = "geheim-1234" }'))
    assert (await started(harness)).get("acme") is not None
    assert await read_stored(harness.redis, ["acme"]) == {}


async def test_no_other_merchants_key_is_stored(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a file that contains the key of another merchant."""
    monkeypatch.setenv("BETA_KEY", "geheim-5678")
    (harness.settings.merchants_dir / "beta.toml").write_text(FILE.replace("ACME_KEY", "BETA_KEY"))
    path(harness).write_text(f"# beta has geheim-5678\n{FILE}")
    await started(harness)
    assert [*await read_stored(harness.redis, ["acme", "beta"])] == ["beta"]


async def test_an_invalid_file_is_logged_once(harness: Harness) -> None:
    """Whichever process sees it, and however often one starts; once more when it is valid again."""
    path(harness).write_text(FILE)
    first = MerchantFiles(harness.settings.merchants_dir, frozenset())
    running = StoredFiles(harness.store, first, harness.settings)
    with capture_logs() as lines:
        await running.sync()
        path(harness).write_text("[api")
        first._looked_at = float("-inf")
        for _ in range(2):
            await running.sync()
            await started(harness)
        path(harness).write_text("x = 1")
        first._looked_at = float("-inf")
        await running.sync()
        path(harness).write_text(OTHER)
        await started(harness)
        first._looked_at = float("-inf")
        await running.sync()
    events = [line["event"] for line in lines if line["event"].startswith("merchant_file_")]
    assert [event for event in events if event != "merchant_file_restored"] == [
        "merchant_file_invalid",
        "merchant_file_invalid",
        "merchant_file_valid",
    ]
