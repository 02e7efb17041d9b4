"""Running sandboxes for the tests."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.integration.sandbox.running_sandbox import RunningSandbox, run_sandbox
from worker.lab.sandbox.options import Options


@pytest.fixture
def start() -> Iterator[Callable[[Options], RunningSandbox]]:
    """Starts sandboxes with the given options."""
    with ExitStack() as stack:
        yield lambda options: stack.enter_context(run_sandbox(options))


@pytest.fixture
def sandbox(start: Callable[[Options], RunningSandbox]) -> RunningSandbox:
    """A sandbox with the default options, but a short queue."""
    return start(Options(queue_s=0.02))
