"""Heartbeats: files for the container's health check, and the list in the ledger."""

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.factories.ledger_harness import Harness
from worker.ledger import keys
from worker.ledger.records import server_ms
from worker.observability.heartbeat import (
    FRESH_S,
    ForeignFolderError,
    _folder,
    heartbeats,
    is_alive,
    publish_heartbeat,
    remove_heartbeat_file,
    remove_stopped,
    touch_heartbeat_file,
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return _folder()


def test_a_process_is_alive_until_it_leaves() -> None:
    """A heartbeat counts for its own role, until the process removes it."""
    assert not is_alive("intake")
    touch_heartbeat_file("intake")
    assert [is_alive(role) for role in ("intake", "worker", "beat")] == [True, False, False]
    remove_heartbeat_file("intake")
    remove_heartbeat_file("intake")
    assert not is_alive("intake")


def test_an_old_heartbeat_is_none(folder: Path) -> None:
    """A process without a recent heartbeat is not alive; its next heartbeat counts again."""
    touch_heartbeat_file("worker")
    (beat,) = folder.iterdir()
    os.utime(beat, times=(time.time() - FRESH_S - 1,) * 2)
    assert not is_alive("worker")
    touch_heartbeat_file("worker")
    assert is_alive("worker")


def test_one_of_many_is_enough(folder: Path) -> None:
    """One live process of a role is enough, whatever files dead ones left."""
    touch_heartbeat_file("worker")
    os.utime(folder / f"worker.{os.getpid()}", times=(1, 1))
    (folder / "worker.1").touch()
    assert is_alive("worker")


def test_a_heartbeat_that_vanishes(folder: Path) -> None:
    """A process that ends during the check does no harm."""
    touch_heartbeat_file("worker")
    (folder / "worker.0").symlink_to("gone")
    assert is_alive("worker")
    remove_heartbeat_file("worker")
    assert not is_alive("worker")


def test_the_folder_is_private(folder: Path) -> None:
    """The files are in a folder that only their user can open."""
    touch_heartbeat_file("beat")
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the file cannot be written there is no heartbeat, and no error."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    touch_heartbeat_file("beat")
    remove_heartbeat_file("beat")
    assert not is_alive("beat")


async def test_heartbeats_in_the_ledger(harness: Harness) -> None:
    """The ledger lists processes with a recent heartbeat, and forgets those that ended long ago."""
    await publish_heartbeat(harness.store, "intake", 7, "1-1")
    now = await server_ms(harness.redis) // 1000
    for name, ago in {"silent": FRESH_S + 5, "gone": 100 * FRESH_S}.items():
        await harness.raw.hset(keys.HEARTBEATS, f"worker@{name}:1", json.dumps({"at": now - ago, "position": 0}))
    await remove_stopped(harness.redis)
    found = await heartbeats(harness.redis)
    ((name, beat),) = found.items()
    assert name.startswith("intake@")
    assert name.endswith(":7")
    assert beat.position == "1-1"
    assert {key.decode().partition("@")[2] for key in await harness.raw.hkeys(keys.HEARTBEATS)} == {
        name.partition("@")[2],
        "silent:1",
    }


def a_link(folder: Path) -> None:
    """A link to another user's folder."""
    (folder.parent / "theirs").mkdir(mode=0o700)
    folder.symlink_to(folder.parent / "theirs")


def another_owner(folder: Path) -> None:
    """A folder that another user created before."""
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)


@pytest.mark.parametrize(
    "make",
    [
        a_link,
        lambda folder: folder.write_text(""),
        lambda folder: (folder.mkdir(), folder.chmod(0o777)),
        pytest.param(
            another_owner,
            marks=pytest.mark.skipif(os.getuid() != 0, reason="only root may change an owner"),
        ),
    ],
    ids=["a link", "a file", "any user may write there", "another owner"],
)
def test_a_folder_of_another_user(folder: Path, make: Callable[[Path], object]) -> None:
    """Nothing is written there, its files are ignored, and a warning is logged."""
    make(folder)
    before = sorted(folder.parent.rglob("*"))
    with capture_logs() as logged:
        touch_heartbeat_file("worker")
        touch_heartbeat_file("worker")
        remove_heartbeat_file("worker")
    assert [line["event"] for line in logged] == ["heartbeat_not_written"]
    assert sorted(folder.parent.rglob("*")) == before
    with pytest.raises(ForeignFolderError, match="remove it, or set TMPDIR"):
        is_alive("worker")
