"""The command line beside a real server."""

from pathlib import Path

import pytest

from config.settings import Settings
from tests.integration.commands.cli_harness import Scene


@pytest.fixture
def scene(settings: Settings, tmp_path: Path) -> Scene:
    """An empty ledger, no merchants, and the command line for them."""
    return Scene(settings, tmp_path)
