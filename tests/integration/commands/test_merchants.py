"""`allocation merchants`: the files in use, and forgetting a merchant."""

import pytest

from tests.integration.commands.cli_harness import FILE, CliHarness, order
from worker.processes.merchant_files import MerchantFiles
from worker.processes.stored_files import StoredFiles


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key that the files name: a file without its key is not stored."""
    monkeypatch.setenv("ACME_KEY", "opens-nothing")


def start(cli: CliHarness) -> None:
    """Store the files, as a process does when it starts."""
    merchants = MerchantFiles(cli.settings.merchants_dir, frozenset())
    cli.do(lambda store, _: StoredFiles(store, merchants, cli.settings).sync())


def test_the_list(cli: CliHarness) -> None:
    """Version, state of the file, key and unfinished shipments of each merchant."""
    cli.merchant()
    cli.merchant("beta", FILE.replace("ACME_KEY", "NO_SUCH_KEY"))
    cli.accept(order("sp_1"))
    start(cli)
    cli.merchant("beta", "[api")
    acme, beta = cli.run("merchants", "--json").document
    assert (acme["file"], acme["key_found"], acme["unfinished"]) == ("valid", True, 1)
    assert len(acme["version"]) == 12
    assert (beta["file"], beta["version"], beta["key_found"], beta["unfinished"]) == ("invalid", None, None, 0)
    assert acme["since"] is not None
    assert "acme" in cli.run("merchants").out


def test_a_file_and_its_difference(cli: CliHarness) -> None:
    """The text in use, and how the file on disk differs."""
    cli.merchant()
    start(cli)
    assert "the same as acme.toml" in cli.run("merchants", "show", "acme").out
    cli.merchant(text="[api")
    result = cli.run("merchants", "show", "acme").out
    assert 'virtual_service = "V"' in result
    assert "+[api" in result
    assert cli.run("merchants", "show", "amce").err == "Error: no merchant 'amce'; known: acme\n"
    assert cli.run("merchants", "show", "acme", "--version", "nonsense").code == 1


def test_forgetting(cli: CliHarness) -> None:
    """Only a merchant without file and without unfinished shipments is forgotten; then nothing names it."""
    cli.merchant()
    start(cli)
    cli.accept(order("sp_1"))
    cli.fail()
    forget = ("merchants", "forget", "acme", "--why", "left")
    assert "still exists" in cli.run(*forget).err
    (cli.settings.merchants_dir / "acme.toml").unlink()
    assert cli.run(*forget).out == "forgot acme\n"
    assert cli.run("merchants", "--json").document == []
    counted = cli.do(lambda store, _: store.redis.hkeys("allocation:metrics"))
    assert [name for name in counted if b"acme" in name] == []
    assert cli.do(lambda store, _: store.redis.keys("allocation:failed*acme*")) == []
    assert cli.run("audit", "--json").document[0]["action"] == "forget"


def test_explain_names_the_version(cli: CliHarness) -> None:
    """A shipment's history names the version of the file that chose its plan."""
    cli.merchant()
    cli.accept(order("sp_1"))
    version = cli.run("merchants", "--json").document[0]["version"]
    assert cli.run("explain", "sp_1", "--json").document["shipments"][0]["merchant_file"] == version
    assert f"file     version {version}" in cli.run("explain", "sp_1").out


def test_no_key_is_printed(cli: CliHarness) -> None:
    """A key that was written into a comment is redacted."""
    cli.merchant(text=f"# the key is opens-nothing\n{FILE}")
    start(cli)
    result = cli.run("merchants", "show", "acme")
    assert "# the key is [key]" in result.out
    assert "opens-nothing" not in result.out
