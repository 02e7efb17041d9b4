"""The command line with a real server."""

from pathlib import Path

import pytest

from config.settings import Settings
from tests.integration.commands.cli_harness import CliHarness


@pytest.fixture
def cli(settings: Settings, tmp_path: Path) -> CliHarness:
    """An empty ledger, no merchants, and the command line for them."""
    return CliHarness(settings, tmp_path)
