"""Everything that may be switched off is switched off in mid-run; the five figures stay zero. Small sizes, few seeds.

`make chaos SEEDS=…` runs the same scenarios at full size.
"""

from pathlib import Path

import pytest

from tests.acceptance.system import ALL_ZERO, running
from tests.chaos.scenarios import ROLES, SCENARIOS, SETTLE_TIMEOUT_S, Run, write_merchants

SMALL = {
    "kills": (1000, 4),
    "terminations": (600, 3),
    "broker": (800, 3),
    "redis": (600, 1),
    "frozen": (400, 1),
    "full": (600, 1),
    "tail": (600, 1),
    "two": (600, 2),
}


@pytest.mark.parametrize("scenario", SMALL)
def test_nothing_lost_nothing_twice(scenario: str, tmp_path: Path) -> None:
    """Lost, allocated twice, blind repeats, emitted twice, failed though allocated: all zero."""
    with running(tmp_path, *ROLES) as system:
        result = SCENARIOS[scenario](system, 7, *SMALL[scenario])
    assert result.figures == ALL_ZERO
    assert result.after_last_fault_s < SETTLE_TIMEOUT_S


@pytest.mark.parametrize("seed", [1, 2])
def test_an_api_that_misbehaves(seed: int, tmp_path: Path) -> None:
    """A seeded mix of every fault the API knows strikes all kinds of calls; the five figures stay zero."""
    with running(tmp_path, *ROLES) as system:
        result = SCENARIOS["api"](system, seed, 120, 2)
    assert result.figures == ALL_ZERO


@pytest.mark.parametrize("role", ["intake", "worker", "beat"])
def test_kill_9_of_any_one_process(role: str, tmp_path: Path) -> None:
    """`kill -9` of one process during a thousand orders loses none, allocates none twice, emits none twice."""
    with running(tmp_path, *ROLES) as system:
        run = Run(system, 1, 1000, write_merchants(system))
        for _ in run.shares(1):
            system.kill(role)
            system.start(role)
        assert run.end(role).figures == ALL_ZERO
