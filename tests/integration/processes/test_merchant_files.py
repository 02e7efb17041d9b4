"""Merchant files are picked up while running; if one becomes invalid, its last valid version stays in use."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from worker.processes.merchant_files import MerchantFiles

FILE = """[api]
flavour = "shipments-v2"
base_url = "http://127.0.0.1:9"
api_key = {key}
timeout_s = {timeout_s}
[allocation]
strategy = {{ default_rules = true }}
"""


@pytest.fixture
def merchants(tmp_path: Path) -> MerchantFiles:
    """The merchants of an empty folder."""
    return MerchantFiles(tmp_path, frozenset())


def write(merchants: MerchantFiles, name: str, timeout_s: float = 20, key: str = '{ env = "KEY" }') -> None:
    """Replace a file atomically."""
    part = merchants.folder / f"{name}.part"
    part.write_text(FILE.format(timeout_s=timeout_s, key=key))
    part.rename(merchants.folder / f"{name}.toml")


def timeout_s(merchants: MerchantFiles, name: str) -> float | None:
    """The timeout in the file in use after the next scan; None without a file."""
    merchants._looked_at = float("-inf")
    merchant = merchants.get(name)
    return None if merchant is None else merchant.file.api.timeout_s


def test_a_file_is_created_and_deleted(merchants: MerchantFiles) -> None:
    """A file is in use as soon as it exists, with its current content, until it is deleted."""
    found = [timeout_s(merchants, "acme")]
    for seconds in (10, 30):
        write(merchants, "acme", seconds)
        found.append(timeout_s(merchants, "acme"))
    (merchants.folder / "acme.toml").unlink()
    found.append(timeout_s(merchants, "acme"))
    assert found == [None, 10, 30, None]
    assert merchants.names() == []
    assert merchants.changes == 3


def test_a_file_that_became_invalid(merchants: MerchantFiles) -> None:
    """The last valid version stays in use until the file is fixed, and the problem is reported until then."""
    write(merchants, "acme", 10)
    assert timeout_s(merchants, "acme") == 10
    (merchants.folder / "acme.toml").write_text("timeout_s = [")
    assert timeout_s(merchants, "acme") == 10
    assert [problem.file for problem in merchants.problems["acme.toml"]] == ["acme.toml"]
    write(merchants, "acme", 30)
    assert timeout_s(merchants, "acme") == 30
    assert merchants.problems == {}


def test_an_invalid_file_is_deleted(merchants: MerchantFiles) -> None:
    """After an invalid file is deleted, neither it nor its last valid version is in use."""
    write(merchants, "acme", 10)
    timeout_s(merchants, "acme")
    (merchants.folder / "acme.toml").write_text("nonsense")
    timeout_s(merchants, "acme")
    (merchants.folder / "acme.toml").unlink()
    assert timeout_s(merchants, "acme") is None
    assert merchants.problems == {}


def test_a_file_that_was_never_valid(merchants: MerchantFiles) -> None:
    """An invalid file affects its own merchant only."""
    (merchants.folder / "wrong.toml").write_text("nonsense")
    (merchants.folder / "folder.toml").mkdir()
    (merchants.folder / "nowhere.toml").symlink_to("nowhere")
    write(merchants, "acme")
    assert timeout_s(merchants, "wrong") is None
    assert merchants.names() == ["acme"]
    assert merchants.problems.keys() == {"wrong.toml", "folder.toml", "nowhere.toml"}


def test_a_missing_folder(tmp_path: Path) -> None:
    """Without a folder nothing is in use; a folder that disappears temporarily leaves everything in use."""
    folder = tmp_path / "merchants"
    merchants = MerchantFiles(folder, frozenset())
    assert timeout_s(merchants, "acme") is None
    folder.mkdir()
    write(merchants, "acme", 10)
    assert timeout_s(merchants, "acme") == 10
    folder.rename(tmp_path / "elsewhere")
    assert timeout_s(merchants, "acme") == 10


@pytest.mark.parametrize("name", ["../acme", "acme.toml", "", ".", "a/b", "acme\x00"])
def test_invalid_names(merchants: MerchantFiles, name: str) -> None:
    """A merchant name from an event is never used as a path."""
    write(merchants, "acme")
    assert timeout_s(merchants, name) is None


def test_only_changed_files_are_read(merchants: MerchantFiles) -> None:
    """A scan reads only the changed file of a thousand, and scans run at most once a second."""
    for number in range(1000):
        write(merchants, f"merchant{number}")
    assert timeout_s(merchants, "merchant7") == 20
    assert merchants.changes == 1000
    write(merchants, "merchant7", 30)
    assert merchants.get("merchant8") is not None
    assert merchants.changes == 1000
    assert timeout_s(merchants, "merchant7") == 30
    assert merchants.changes == 1001


def test_a_key_in_a_file(merchants: MerchantFiles, tmp_path: Path) -> None:
    """The key follows its file: missing, present or changed, each with its own digest."""
    secret = tmp_path / "secret"
    write(merchants, "acme", key=f'{{ file = "{secret}" }}')
    digests = set()
    for wanted in (None, "first", "second"):
        if wanted:
            secret.write_text(f"{wanted}\n")
        account = merchants.account("acme")
        assert account is not None
        assert account.key == wanted
        digests.add((account.digest, account.api))
    assert len(digests) == 3


def test_a_key_in_the_environment(merchants: MerchantFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """No text representation of an account contains its key."""
    monkeypatch.setenv("KEY", "key-of-acme")
    write(merchants, "acme")
    account = merchants.account("acme")
    assert account is not None
    assert account.key == "key-of-acme"
    assert "key-of-acme" not in f"{account!r} {account.api} {account.digest}"
    assert account.api.startswith("127.0.0.1:9#")


def test_no_account_without_a_file(merchants: MerchantFiles) -> None:
    """Without a file there is no account."""
    assert merchants.account("unknown") is None


def test_merchants_that_share_an_api(merchants: MerchantFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Merchants with the same host and key share an API; another key is another API."""
    monkeypatch.setenv("KEY", "one")
    monkeypatch.setenv("OTHER_KEY", "two")
    write(merchants, "a")
    write(merchants, "b", timeout_s=5)
    write(merchants, "c", key='{ env = "OTHER_KEY" }')
    accounts = [merchants.account(name) for name in "abc"]
    assert len({account.api for account in accounts if account}) == 2
    assert len({account.digest for account in accounts if account}) == 3


def test_a_file_written_right_before_its_first_order(merchants: MerchantFiles) -> None:
    """A merchant counts as unknown only after a scan since the order was read, however recent the last scan was."""
    assert merchants.get("acme") is None
    write(merchants, "acme", 10)
    assert merchants.get("acme", since=time.monotonic()) is not None


def steps(monkeypatch: pytest.MonkeyPatch, *acts: Callable[[], object]) -> None:
    """Actions to run while a scan waits, one each time; then nothing."""
    left = list(acts)
    monkeypatch.setattr("worker.processes.merchant_files.time.sleep", lambda _: left.pop(0)() if left else None)


def test_a_file_that_is_being_written(merchants: MerchantFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is used once two scans find it unchanged; an order for it waits for that."""
    text = FILE.format(timeout_s=10, key='{ env = "KEY" }')
    path = merchants.folder / "acme.toml"

    def append(part: str) -> Callable[[], object]:
        return lambda: path.write_text(path.read_text() + part)

    path.write_text(text[:30])
    steps(monkeypatch, append(text[30:60]), lambda: None, append(text[60:90]), lambda: None, append(text[90:]))
    monkeypatch.setattr("worker.processes.merchant_files.WRITTEN_WITHIN_S", 60.0)
    merchant = merchants.get("acme", since=time.monotonic())
    assert merchant is not None
    assert merchant.file.api.timeout_s == 10
    assert merchants.problems == {}


def test_a_file_that_is_rewritten(merchants: MerchantFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a file is rewritten in place the last valid version stays in use, whatever it contains meanwhile."""
    write(merchants, "acme", 10)
    assert timeout_s(merchants, "acme") == 10
    text, path = FILE.format(timeout_s=30, key='{ env = "KEY" }'), merchants.folder / "acme.toml"
    path.write_text(text[:40])
    steps(monkeypatch, lambda: path.write_text(text[:50]), lambda: path.write_text(text[:60]))
    assert [timeout_s(merchants, "acme") for _ in range(2)] == [10, 10]
    assert merchants.problems == {}
    path.write_text(text)
    assert timeout_s(merchants, "acme") == 30


def test_a_file_that_is_never_finished(merchants: MerchantFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order does not wait forever for a merchant's first file, and the next order does not wait again."""
    path = merchants.folder / "acme.toml"
    path.write_text("")
    waited: list[float] = []

    def keep_writing(seconds: float) -> None:
        waited.append(seconds)
        path.write_text("#" * len(waited))

    monkeypatch.setattr("worker.processes.merchant_files.time.sleep", keep_writing)
    monkeypatch.setattr("worker.processes.merchant_files.WRITTEN_WITHIN_S", 0.1)
    assert merchants.get("acme", since=time.monotonic()) is None
    waited.clear()
    assert merchants.get("acme", since=time.monotonic()) is None
    assert len(waited) <= 2


def test_permissions_are_a_change(merchants: MerchantFiles) -> None:
    """A file that becomes readable is read, although its content has not changed."""
    write(merchants, "acme", 10)
    timeout_s(merchants, "acme")
    before = merchants.changes
    (merchants.folder / "acme.toml").chmod(0o640)
    assert timeout_s(merchants, "acme") == 10
    assert merchants.changes == before + 1
