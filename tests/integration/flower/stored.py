"""Versions of merchant files in the ledger."""

from pathlib import Path

from config.merchant_files.merchant_file import Merchant
from config.merchant_files.reading import parse
from tests.integration.commands.cli_harness import CliHarness
from worker.ledger.stored_files import store_file


def store_version(cli: CliHarness, text: str) -> Merchant:
    """Keep this text as the version of acme's file that is in use."""
    merchant = parse(Path("acme.toml"), text.encode(), frozenset())
    assert isinstance(merchant, Merchant)
    cli.do(lambda store, _: store_file(store.redis, cli.settings, merchant, text))
    return merchant
