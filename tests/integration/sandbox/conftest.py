"""Running sandboxes for the tests."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.integration.sandbox.running_sandbox import Running, running
from worker.lab.sandbox.options import Options


@pytest.fixture
def start() -> Iterator[Callable[[Options], Running]]:
    """Starts sandboxes with options of the test's choice."""
    with ExitStack() as stack:
        yield lambda options: stack.enter_context(running(options))


@pytest.fixture
def sandbox(start: Callable[[Options], Running]) -> Running:
    """A sandbox with the default options, but a short queue."""
    return start(Options(queue_s=0.02))
