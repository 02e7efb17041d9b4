"""`make soak MINUTES=…`: a long run with faults; exit code 1 if something grows or a figure is not zero."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.acceptance.system import ALL_ZERO, running
from tests.perf.soak.growth import bytes_per_kept_order, rows, table
from tests.perf.soak.run import ENVIRONMENT, Soak, Soaked

JUDGED_FROM_S = 240.0
"""A shorter run is not in a steady state in its second half, so its growth is meaningless."""


def main() -> int:
    """Run as requested."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="how long orders are published")
    parser.add_argument("--rate", type=float, default=100, help="orders a second")
    options = parser.parse_args()
    folder = tempfile.TemporaryDirectory(prefix="allocation-soak-")
    with folder as path, running(Path(path), **ENVIRONMENT) as system:
        soaked = Soak(system, options.rate, options.minutes * 60).run()
    return report(soaked)


def report(soaked: Soaked) -> int:
    """Print the figures; returns the exit code."""
    found = list(rows(soaked.samples))
    judged = soaked.samples[-1].at_s >= JUDGED_FROM_S - 10
    lines = [
        f"{soaked.orders} orders in {soaked.seconds:.0f} s, {len(soaked.samples)} samples",
        table(found),
        f"Redis bytes per kept order: {bytes_per_kept_order(soaked.samples):.0f}",
        ", ".join(f"{name} {count}" for name, count in soaked.figures.items()),
    ]
    if not judged:
        lines.append(f"growth is not judged in runs under {JUDGED_FROM_S / 60:.0f} minutes")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(soaked.figures != ALL_ZERO or (judged and any(row.grows for row in found)))


if __name__ == "__main__":
    sys.exit(main())
