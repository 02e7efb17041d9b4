"""An API that acts after its response: lost, invalid and queued responses, while the action continues."""

import os
import random
import signal
import subprocess
import time
from dataclasses import replace
from typing import Any

from tests.acceptance.system import BIN, System, v1_file, v2_file
from tests.perf.chaos.run import FALLBACK, LINET, Result, Run

SHARE_OF_QUIET = 0.9
"""How late the API may be, as a share of the merchant's quiet time; later than the whole of it, it books twice."""

RECOVERY_S = 10.0
"""How long after its quiet time a shipment whose call had no effect may wait for the next call."""

STOPPED_S = 3.0

BADLY_ANSWERED: tuple[dict[str, Any], ...] = (
    {"fault": "status", "status": 500},
    {"fault": "status", "status": 502},
    {"fault": "status", "status": 503},
    {"fault": "status", "status": 504},
    {"fault": "drop"},
    {"fault": "cut"},
    {"fault": "garbage", "body": "html"},
    {"fault": "repeated"},
    {"fault": "repeated", "conflict": True},
)


def retry(quiet_s: float, queue_s: float) -> str:
    """The table of a merchant file."""
    return f"[retry]\nquiet_seconds = {quiet_s}\nqueue_seconds = {queue_s}\n"


def write_late_merchants(system: System, quiet_s: float) -> dict[str, tuple[float, float]]:
    """One merchant for each kind of call, with its quiet and queue time; some have longer ones."""
    url, longer_s = system.url, 2 * quiet_s
    times = dict.fromkeys(("single", "queued", "bulk", "many", "xml", "slowly"), (quiet_s, 3 * quiet_s))
    times |= dict.fromkeys(("patient", "chain"), (longer_s, 3 * longer_s))
    more = {name: retry(*seconds) for name, seconds in times.items()}
    service = '{ carrier_service = "FF_LINET-00001" }'
    system.merchant("single", v2_file(url, LINET, more=more["single"], api="timeout_s = 2\n"))
    system.merchant("patient", v2_file(url, service, more=more["patient"], api="timeout_s = 1\n"))
    system.merchant("chain", v2_file(url, '{ virtual_service = "EXPRESS" }', FALLBACK, more=more["chain"]))
    system.merchant("queued", v2_file(url, service, more=more["queued"]))
    system.merchant("bulk", v2_file(url, service, more=more["bulk"], api="bulk = true\n"))
    system.merchant("many", v1_file(url, service, more=more["many"]))
    system.merchant("xml", v1_file(url, "{ default_rules = true }", body_format="xml", more=more["xml"]))
    slow = more["slowly"] + "[limits]\nper_second = 0.8\n"
    system.merchant("slowly", v2_file(url, service, more=slow))
    return times


def late_faults(choice: random.Random, times: dict[str, tuple[float, float]], shipments: Any) -> list[dict[str, Any]]:
    """Faults of every kind for every merchant, each as late as allowed; half of them have no effect."""
    faults: list[dict[str, Any]] = []
    for merchant, (quiet_s, queue_s) in times.items():
        references = [reference for name, reference in shipments if name == merchant]
        shared = {"references": references, "on": "allocate", "times_each": 1}
        if merchant in ("queued", "bulk"):
            lag_s, late_s = choice.uniform(0.2, 0.5) * queue_s, choice.uniform(0.5, SHARE_OF_QUIET) * queue_s
            faults.append({**shared, "fault": "late", "late_s": round(late_s, 2), "acts_share": 0.5, "share": 0.4})
            if merchant == "queued":
                lagging = {"fault": "queued", "lag_s": round(lag_s, 2), "queue_s": round(0.3 * queue_s, 2)}
                faults.append({**shared, **lagging, "share": 0.4})
        # v1 has no code for "not in a state that may be allocated": after a repeated request it may say no and act.
        bad_answers = [bad for bad in BADLY_ANSWERED if merchant not in ("many", "xml") or bad["fault"] != "repeated"]
        for bad in choice.sample(bad_answers, k=4):
            late_s = round(choice.uniform(0.4, SHARE_OF_QUIET) * quiet_s, 2)
            acts_share = 1.0 if bad["fault"] == "repeated" else 0.5
            faults.append({**shared, **bad, "late_s": late_s, "acts_share": acts_share, "share": 0.3})
    return faults


def orders_of(count: int) -> list[str]:
    """The merchants of the orders: few of the one that may call less than once a second."""
    names = ("single", "patient", "chain", "queued", "bulk", "many", "xml")
    return [*(["slowly"] * min(6, count // 10)), *(names[n % len(names)] for n in range(count))]


def late(system: System, seed: int, orders: int, count: int, quiet_s: float = 3.0) -> Result:
    """Calls take effect late; during the quiet time a worker is killed, stopped or replaced, or orders are replayed."""
    times = write_late_merchants(system, quiet_s)
    merchants = orders_of(orders)
    run = Run(system, seed, len(merchants), merchants, publish=False)
    system.faults(*late_faults(run.random, times, run.shipments))
    run.publish()
    for number in range(count):
        # Not by progress: what is to be struck are quiet times.
        time.sleep(quiet_s / 2)  # the fault's own time: in the middle of a quiet time
        _disturb(system, number)
    return run.end("late")


def recovery(system: System, seed: int, orders: int, _: int, quiet_s: float = 3.0) -> Result:
    """Half of the calls of *late* have no effect: their shipments wait no longer than necessary."""
    times = write_late_merchants(system, quiet_s)
    # Fewer than one call a second is a wait of its own.
    merchants = [name for name in orders_of(orders) if name != "slowly"]
    run = Run(system, seed, len(merchants), merchants, publish=False)
    system.faults(*late_faults(run.random, times, run.shipments))
    run.publish()
    result = run.end("recovery")
    too_late = system.called_too_late(run.shipments, RECOVERY_S)
    return replace(result, figures={**result.figures, "called too late": len(too_late)})


def _disturb(system: System, number: int) -> None:
    match number % 4:
        case 0:
            system.kill("worker")
            system.start("worker")
        case 1:
            _stop_for_a_while(system)
        case 2:
            system.terminate("worker")
            system.start("worker")
        case _:
            _replay(system)


def _replay(system: System) -> None:
    """Operators replay all merchants, which also makes parked shipments due at once."""
    for merchant in ("single", "queued", "bulk", "many"):
        command = [str(BIN / "allocation"), "replay", "--merchant", merchant]
        subprocess.run(command, env=system.environment, cwd=system.folder, check=True, capture_output=True)


def _stop_for_a_while(system: System) -> None:
    """SIGSTOP of the worker and its children: a process that continues must not call with an expired permit."""
    stopped = [system.processes["worker"].pid, *system.children("worker")]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(STOPPED_S)  # the fault itself
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
