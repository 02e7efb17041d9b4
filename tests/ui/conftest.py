"""Programs of the system that the tests of this folder need. Without them the tests are skipped."""

import shutil
from pathlib import Path

import pytest


def program(name: str, package: str) -> Path:
    """The path of a program; skips the test without it. `package`: Debian's package that has it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing; install it with: apt install {package}")
    return Path(found)


@pytest.fixture(scope="session")
def prometheus() -> Path:
    """Prometheus."""
    return program("prometheus", "prometheus")


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The tool that checks Prometheus's files."""
    return program("promtool", "prometheus")
