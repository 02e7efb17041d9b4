"""The key is refused for some time, by the API or by something in front of it: calls resume without action."""

import time

from tests.acceptance.system import System, v1_file, v2_file, wait_until
from tests.perf.chaos.run import LINET, Result, Run

REFUSED_S = 6.0


def paused(system: System, seed: int, orders: int, count: int) -> Result:
    """The page of a firewall, then 401 and 403, to every request; then the API recovers."""
    system.merchant("virtual", v2_file(system.url, LINET))
    system.merchant("many", v1_file(system.url, '{ carrier_service = "FF_LINET-00001" }'))
    run = Run(system, seed, orders, ["virtual", "many"], publish=False)
    system.faults({"fault": "foreign", "status": 403})
    run.publish()
    time.sleep(REFUSED_S)  # the fault itself
    assert not system.redis.hlen("allocation:paused"), "a firewall's 403 is no verdict on the key"
    for number in range(count - 1):
        system.faults({"fault": ("unauthorised", "forbidden")[number % 2]})
        wait_until(lambda: bool(system.redis.hlen("allocation:paused")), 60, "a pause")
        time.sleep(REFUSED_S)  # the fault itself
    system.faults()
    return run.end("paused and back")
