"""`make chaos SEEDS=…`: runs every scenario at full size; exit code 1 if a figure is not zero."""

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.acceptance.system import running
from tests.perf.chaos.run import ROLES, SETTLE_TIMEOUT_S, Result
from tests.perf.chaos.scenarios import SCENARIOS
from tests.perf.soak.run import ENVIRONMENT as SOAK_ENVIRONMENT

SIZES = {
    "kills": (5000, 20),
    "terminations": (2000, 6),
    "broker": (2000, 3),
    "redis": (1500, 2),
    "frozen": (1500, 2),
    "full": (1500, 2),
    "refusals": (1500, 8),
    "failover": (1500, 2),
    "tail": (1500, 2),
    "api": (400, 3),
    "two": (2000, 3),
    "late": (210, 6),
    "recovery": (210, 0),
    "crash loop": (5000, 24),
    "paused": (200, 3),
    "poison": (1000, 400),
    "soak": (500, 0),
}
"""How many orders and how many faults each scenario has at full size."""


def run(name: str, seed: int, orders: int, faults: int) -> Result:
    """One scenario with its own system."""
    roles, environment = ((), SOAK_ENVIRONMENT) if name == "soak" else (ROLES, {})
    with (
        tempfile.TemporaryDirectory(prefix="allocation-chaos-") as folder,
        running(Path(folder), *roles, **environment) as system,
    ):
        result = SCENARIOS[name](system, seed, orders, faults)
        if any(result.figures.values()):
            kept = Path(tempfile.mkdtemp(prefix=f"allocation-chaos-{name}-"))
            shutil.copy(Path(folder) / "processes.log", kept)
            (kept / "api.json").write_text(json.dumps(system.log_entries()))
            sys.stderr.write(f"{kept}: the logs of the processes and of the API\n")
        return result


def main() -> int:
    """Run the selected scenarios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="runs of each scenario, with seeds 1, 2, …")
    parser.add_argument("--only", choices=SCENARIOS, action="append", help="only this scenario (may be repeated)")
    parser.add_argument("--json", action="store_true", help="one JSON object a run instead of the table")
    options = parser.parse_args()
    bad = 0
    for name in options.only or SCENARIOS:
        for seed in range(1, options.seeds + 1):
            result = run(name, seed, *SIZES[name])
            bad += any(result.figures.values()) or result.after_last_fault_s > SETTLE_TIMEOUT_S
            sys.stdout.write((json.dumps(asdict(result)) if options.json else line(result)) + "\n")
            sys.stdout.flush()
    return 1 if bad else 0


def line(result: Result) -> str:
    """A run as a row of the table."""
    figures = ", ".join(f"{name} {count}" for name, count in result.figures.items())
    times = f"{result.seconds:6.1f} s, {result.after_last_fault_s:5.1f} s after the last fault"
    return f"{result.scenario:22} seed {result.seed}: {result.orders:5} orders  {times}  {figures}"


if __name__ == "__main__":
    sys.exit(main())
