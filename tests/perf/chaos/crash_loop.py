"""A node in a crash loop: no shipment is blamed for it."""

import time

from tests.acceptance.system import System
from tests.perf.chaos.run import Result, Run, write_merchants

EVERY_S = 1.2


def crash_loop(system: System, seed: int, orders: int, count: int) -> Result:
    """A worker is killed and restarted repeatedly; it loses its shipments each time, and none fails."""
    system.start("worker:2")
    run = Run(system, seed, orders, write_merchants(system))
    for _ in range(count):
        time.sleep(EVERY_S)  # the fault's own rate
        system.kill("worker")
        system.start("worker")
    return run.end("crash loop")
