"""Processes and servers are stopped during a run, and the figures stay zero. A few scenarios at small size.

`make chaos SEEDS=…` runs all of them at full size.
"""

from pathlib import Path

import pytest

from tests.acceptance.system import ALL_ZERO, running
from tests.perf.chaos.refusals import REFUSALS, refusals
from tests.perf.chaos.run import ROLES, SETTLE_TIMEOUT_S, Run, write_merchants
from tests.perf.chaos.scenarios import SCENARIOS

SMALL = {
    "kills": (1000, 4),
    "redis": (600, 1),
    "two": (600, 2),
}


@pytest.mark.parametrize("scenario", SMALL)
def test_nothing_lost_nothing_twice(scenario: str, tmp_path: Path) -> None:
    """Lost, allocated twice, published twice, repeated too early, failed without a cause: all zero."""
    with running(tmp_path, *ROLES) as system:
        result = SCENARIOS[scenario](system, 7, *SMALL[scenario])
    assert result.figures == ALL_ZERO
    assert result.after_last_fault_s < SETTLE_TIMEOUT_S


def test_a_server_that_refuses(tmp_path: Path) -> None:
    """Refusals of a running server are retried: no process ends, and the figures stay zero."""
    with running(tmp_path, *ROLES) as system:
        result = refusals(system, 7, 800, len(REFUSALS), refused_s=1)
        assert "Unrecoverable" not in system.logged()
    assert result.figures == ALL_ZERO


def test_a_failover_takes_seconds(tmp_path: Path) -> None:
    """Clients connected to the old primary reconnect when it refuses a write."""
    with running(tmp_path, *ROLES) as system:
        result = SCENARIOS["failover"](system, 7, 600, 1)
    assert result.figures == ALL_ZERO
    assert result.after_last_fault_s < 15


def test_an_api_that_misbehaves(tmp_path: Path) -> None:
    """A seeded mix of every fault of the API strikes all kinds of calls; the figures stay zero."""
    with running(tmp_path, *ROLES) as system:
        result = SCENARIOS["api"](system, 1, 120, 2)
    assert result.figures == ALL_ZERO


@pytest.mark.parametrize("role", ["intake", "beat"])
def test_kill_9_of_any_one_process(role: str, tmp_path: Path) -> None:
    """`kill -9` of one process during a thousand orders loses none, allocates none twice, publishes none twice."""
    with running(tmp_path, *ROLES) as system:
        run = Run(system, 1, 1000, write_merchants(system))
        for _ in run.shares(1):
            system.kill(role)
            system.start(role)
        assert run.end(role).figures == ALL_ZERO
