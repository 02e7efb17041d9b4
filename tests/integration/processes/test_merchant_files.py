"""Merchant files are picked up while running; a wrong one leaves the last good one in use."""

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
    """Put a file in its place as a whole."""
    part = merchants._folder / f"{name}.part"
    part.write_text(FILE.format(timeout_s=timeout_s, key=key))
    part.rename(merchants._folder / f"{name}.toml")


def timeout_s(merchants: MerchantFiles, name: str) -> float | None:
    """What the file in use says after the next look; None when there is none."""
    merchants._looked_at = float("-inf")
    merchant = merchants.get(name)
    return None if merchant is None else merchant.file.api.timeout_s


def test_a_file_that_comes_and_goes(merchants: MerchantFiles) -> None:
    """A file is in use from when it is there, as it is now, and until it is gone."""
    found = [timeout_s(merchants, "acme")]
    for seconds in (10, 30):
        write(merchants, "acme", seconds)
        found.append(timeout_s(merchants, "acme"))
    (merchants._folder / "acme.toml").unlink()
    found.append(timeout_s(merchants, "acme"))
    assert found == [None, 10, 30, None]
    assert merchants.names() == []
    assert merchants.changes == 3


def test_a_file_that_became_wrong(merchants: MerchantFiles) -> None:
    """The last good one stays in use until the file is mended, and the problem is told until then."""
    write(merchants, "acme", 10)
    assert timeout_s(merchants, "acme") == 10
    (merchants._folder / "acme.toml").write_text("timeout_s = [")
    assert timeout_s(merchants, "acme") == 10
    assert [problem.file for problem in merchants.problems["acme.toml"]] == ["acme.toml"]
    write(merchants, "acme", 30)
    assert timeout_s(merchants, "acme") == 30
    assert merchants.problems == {}


def test_a_wrong_file_that_goes(merchants: MerchantFiles) -> None:
    """Once a wrong file is deleted, neither it nor its last good one is in use."""
    write(merchants, "acme", 10)
    timeout_s(merchants, "acme")
    (merchants._folder / "acme.toml").write_text("nonsense")
    timeout_s(merchants, "acme")
    (merchants._folder / "acme.toml").unlink()
    assert timeout_s(merchants, "acme") is None
    assert merchants.problems == {}


def test_a_file_that_was_never_good(merchants: MerchantFiles) -> None:
    """A wrong file concerns its own merchant only."""
    (merchants._folder / "wrong.toml").write_text("nonsense")
    (merchants._folder / "folder.toml").mkdir()
    (merchants._folder / "nowhere.toml").symlink_to("nowhere")
    write(merchants, "acme")
    assert timeout_s(merchants, "wrong") is None
    assert merchants.names() == ["acme"]
    assert merchants.problems.keys() == {"wrong.toml", "folder.toml", "nowhere.toml"}


def test_a_folder_that_is_away(tmp_path: Path) -> None:
    """Without its folder nothing is in use; a folder that goes away for a while leaves everything in use."""
    folder = tmp_path / "merchants"
    merchants = MerchantFiles(folder, frozenset())
    assert timeout_s(merchants, "acme") is None
    folder.mkdir()
    write(merchants, "acme", 10)
    assert timeout_s(merchants, "acme") == 10
    folder.rename(tmp_path / "elsewhere")
    assert timeout_s(merchants, "acme") == 10


@pytest.mark.parametrize("name", ["../acme", "acme.toml", "", ".", "a/b", "acme\x00"])
def test_names_that_are_none(merchants: MerchantFiles, name: str) -> None:
    """What an event calls a merchant is never a path."""
    write(merchants, "acme")
    assert timeout_s(merchants, name) is None


def test_only_what_changed_is_read(merchants: MerchantFiles) -> None:
    """Of a thousand files a look reads the one that changed, and no file is looked at more than once a second."""
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
    """A key is as its file is now: missing, there, or another one, of which each makes another digest."""
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
    """No text about an account has its key in it."""
    monkeypatch.setenv("KEY", "nobody-may-see-this")
    write(merchants, "acme")
    account = merchants.account("acme")
    assert account is not None
    assert account.key == "nobody-may-see-this"
    assert "nobody-may-see-this" not in f"{account!r} {account.api} {account.digest}"
    assert account.api.startswith("127.0.0.1:9#")


def test_an_account_of_nobody(merchants: MerchantFiles) -> None:
    """Without a file there is no account."""
    assert merchants.account("nobody") is None


def test_who_shares_a_breaker(merchants: MerchantFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Merchants with the same host and key share what is known of the API; another key is another API."""
    monkeypatch.setenv("KEY", "one")
    monkeypatch.setenv("OTHER_KEY", "two")
    write(merchants, "a")
    write(merchants, "b", timeout_s=5)
    write(merchants, "c", key='{ env = "OTHER_KEY" }')
    accounts = [merchants.account(name) for name in "abc"]
    assert len({account.api for account in accounts if account}) == 2
    assert len({account.digest for account in accounts if account}) == 3


def test_a_file_written_right_before_its_first_order(merchants: MerchantFiles) -> None:
    """A merchant counts as unknown only after a look since the order was read, however recent the last one was."""
    assert merchants.get("acme") is None
    write(merchants, "acme", 10)
    assert merchants.get("acme", since=time.monotonic()) is not None


def steps(monkeypatch: pytest.MonkeyPatch, *acts: Callable[[], object]) -> None:
    """What happens while a look waits, time after time; then nothing."""
    left = list(acts)
    monkeypatch.setattr("worker.processes.merchant_files.time.sleep", lambda _: left.pop(0)() if left else None)


def test_a_file_that_is_being_written(merchants: MerchantFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is used once two looks find it the same; an order for it waits for that."""
    text = FILE.format(timeout_s=10, key='{ env = "KEY" }')
    path = merchants._folder / "acme.toml"

    def append(part: str) -> Callable[[], object]:
        return lambda: path.write_text(path.read_text() + part)

    path.write_text(text[:30])
    steps(monkeypatch, append(text[30:60]), lambda: None, append(text[60:90]), lambda: None, append(text[90:]))
    monkeypatch.setattr("worker.processes.merchant_files.WRITTEN_WITHIN_S", 60.0)
    merchant = merchants.get("acme", since=time.monotonic())
    assert merchant is not None
    assert merchant.file.api.timeout_s == 10
    assert merchants.problems == {}


def test_a_file_that_is_written_again(merchants: MerchantFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is written in its place the last good one stays in use, whatever it says meanwhile."""
    write(merchants, "acme", 10)
    assert timeout_s(merchants, "acme") == 10
    text, path = FILE.format(timeout_s=30, key='{ env = "KEY" }'), merchants._folder / "acme.toml"
    path.write_text(text[:40])
    steps(monkeypatch, lambda: path.write_text(text[:50]), lambda: path.write_text(text[:60]))
    assert [timeout_s(merchants, "acme") for _ in range(2)] == [10, 10]
    assert merchants.problems == {}
    path.write_text(text)
    assert timeout_s(merchants, "acme") == 30


def test_a_file_that_is_never_finished(merchants: MerchantFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order does not wait for ever for a merchant's first file; nor does the next order wait again."""
    path = merchants._folder / "acme.toml"
    path.write_text("")
    waited: list[float] = []

    def goes_on(seconds: float) -> None:
        waited.append(seconds)
        path.write_text("#" * len(waited))

    monkeypatch.setattr("worker.processes.merchant_files.time.sleep", goes_on)
    monkeypatch.setattr("worker.processes.merchant_files.WRITTEN_WITHIN_S", 0.1)
    assert merchants.get("acme", since=time.monotonic()) is None
    waited.clear()
    assert merchants.get("acme", since=time.monotonic()) is None
    assert len(waited) <= 2


def test_permissions_are_a_change(merchants: MerchantFiles) -> None:
    """A file that was made readable is read, though nothing in it has changed."""
    write(merchants, "acme", 10)
    timeout_s(merchants, "acme")
    before = merchants.changes
    (merchants._folder / "acme.toml").chmod(0o640)
    assert timeout_s(merchants, "acme") == 10
    assert merchants.changes == before + 1
