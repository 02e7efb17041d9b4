"""`make bench`: measures this project and its peers in one run; exit code 1 if a goal is missed."""

import argparse
import json
import signal
import sys
from pathlib import Path

from tests.perf.bench import meters
from tests.perf.bench.contenders import CONTENDERS
from tests.perf.bench.goals import goals
from tests.perf.bench.report import document, text
from tests.perf.bench.rig import BenchError
from tests.perf.bench.scenarios import SCENARIOS, Part, say
from tests.perf.bench.sizes import FULL, QUICK

QUICK_SCENARIOS = ("stub", "api-0", "api-200", "operators")


def main() -> int:
    """Run the selected measurements; one that cannot be made is reported, and the rest continue."""
    options = _options()
    if not meters.AVAILABLE:
        sys.stderr.write("The benchmark reads /proc, which this system does not have.\n")
        return 2
    # Ended from outside, too, it leaves no process behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sizes = QUICK if options.quick else FULL
    parts: list[Part] = []
    failures = 0
    for name in options.only or (QUICK_SCENARIOS if options.quick else SCENARIOS):
        try:
            parts.extend(SCENARIOS[name](sizes, options.system or CONTENDERS))
        except BenchError as error:
            failures += 1
            say(f"{name} was given up: {error}")
    sys.stdout.write(text(parts) + "\n")
    if options.json:
        options.json.write_text(json.dumps(document(parts), indent=2) + "\n")
    return 1 if failures or not all(goal.met for goal in goals(parts)) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.perf.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, fewer peers: under one minute")
    parser.add_argument("--only", choices=SCENARIOS, action="append", help="only this scenario (may be repeated)")
    parser.add_argument("--system", choices=CONTENDERS, action="append", help="only this row of the table (likewise)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
