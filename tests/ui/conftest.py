"""Programs of the system that the tests of this folder need. Without them the tests are skipped."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.ui.browser import chromium


def program(name: str, package: str) -> Path:
    """The path of a program; skips the test without it. `package`: Debian's package that has it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing; install it with: apt install {package}")
    return Path(found)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with chromium(program("chromium", "chromium")) as found:
        yield found


@pytest.fixture(scope="session")
def prometheus() -> Path:
    """Prometheus."""
    return program("prometheus", "prometheus")


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The tool that checks Prometheus's files."""
    return program("promtool", "prometheus")
