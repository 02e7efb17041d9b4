"""The fault scenarios; each injects real faults while orders are processed, and returns the figures."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from tests.acceptance.system import System, order_event
from tests.perf.chaos.crash_loop import crash_loop
from tests.perf.chaos.failover import failover
from tests.perf.chaos.late import late, recovery
from tests.perf.chaos.paused import paused
from tests.perf.chaos.poison import poison
from tests.perf.chaos.refusals import refusals
from tests.perf.chaos.run import ROLES, Result, Run, write_merchants
from tests.perf.soak.run import Soak


def kills(system: System, seed: int, orders: int, count: int) -> Result:
    """Repeated `kill -9`, at random, of worker, a single child, intake and beat."""
    run = Run(system, seed, orders, write_merchants(system))
    for _ in run.shares(count):
        _kill_one(system, run.random.choice([*ROLES, "child"]), run.random)
    return run.end("kill -9")


def _kill_one(system: System, what: str, choice: random.Random) -> None:
    if what == "child":
        children = system.children("worker")
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(choice.choice(children), signal.SIGKILL)
        return
    system.kill(what)
    system.start(what)


def terminations(system: System, seed: int, orders: int, count: int) -> Result:
    """SIGTERM at random, as in a deploy: owned shipments are finished or released."""
    run = Run(system, seed, orders, write_merchants(system))
    for _ in run.shares(count):
        role = run.random.choice(ROLES)
        assert system.terminate(role) in (0, -signal.SIGTERM), f"{role} did not end in good order"
        system.start(role)
    return run.end("SIGTERM")


def broker_emptied(system: System, seed: int, orders: int, count: int) -> Result:
    """The broker's database is emptied during the run: the ledger sends start messages again."""
    run = Run(system, seed, orders, write_merchants(system))
    broker = redis.Redis(port=system.server.port, db=1)
    for _ in run.shares(count):
        broker.flushdb()
    broker.close()
    return run.end("broker emptied")


def redis_killed(system: System, seed: int, orders: int, count: int) -> Result:
    """The server is killed and restarted from its append-only file."""
    run = Run(system, seed, orders, write_merchants(system))
    for _ in run.shares(count):
        system.server.kill()
        system.server.start()
    return run.end("Redis killed")


def redis_frozen(system: System, seed: int, orders: int, count: int) -> Result:
    """The server does not respond for some seconds."""
    run = Run(system, seed, orders, write_merchants(system))
    for _ in run.shares(count):
        assert system.server.process
        system.server.process.send_signal(signal.SIGSTOP)
        time.sleep(6)  # the fault itself: longer than every socket timeout
        system.server.process.send_signal(signal.SIGCONT)
    return run.end("Redis frozen for 6 s")


def redis_full(system: System, seed: int, orders: int, count: int) -> Result:
    """The server is out of memory for some seconds: writes are refused, nothing acknowledged is lost."""
    run = Run(system, seed, orders, write_merchants(system))
    for _ in run.shares(count):
        system.redis.config_set("maxmemory", "1mb")
        time.sleep(3)  # the fault itself
        system.redis.config_set("maxmemory", "0")
    return run.end("Redis full for 3 s")


def tail_cut(system: System, seed: int, orders: int, count: int) -> Result:
    """The end of the append-only file is lost, as in a power cut: read-backs find what Redis has lost."""
    run = Run(system, seed, orders, write_merchants(system))
    for _ in run.shares(count):
        system.server.kill()
        _cut_tail(system.server.folder, 20_000)
        system.server.start()
        # The order events that were cut off are gone with it; a shop that publishes durably sends them again.
        system.publish(order_event(merchant, [reference]) for merchant, reference in run.shipments)
    return run.end("append-only file cut")


def _cut_tail(folder: Path, most: int) -> None:
    """Cut up to `most` bytes off the newest increment; the server repairs the incomplete end itself."""
    newest = max((folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
    size = newest.stat().st_size
    with newest.open("r+b") as file:
        file.truncate(max(0, size - most))


def api_faults(system: System, seed: int, orders: int, count: int) -> Result:
    """The API fails in every supported way, mixed at random by the seed."""
    choice = random.Random(seed)  # noqa: S311  # repeatable, no secret
    system.faults(*(_api_fault(choice, name) for name in choice.sample(sorted(API_FAULTS), k=len(API_FAULTS))))
    run = Run(system, seed, orders, write_merchants(system))
    # An API this bad keeps its breaker open most of the time: how long a share takes is a matter of luck.
    for _ in run.shares(count, patience_s=8):
        system.faults(*(_api_fault(choice, name) for name in choice.sample(sorted(API_FAULTS), k=5)))
    system.faults()
    return run.end("API faults")


API_FAULTS: dict[str, dict[str, Any]] = {
    "500": {"fault": "status", "status": 500},
    "500 after acting": {"fault": "status", "status": 500, "acts": True},
    "502 with HTML": {"fault": "status", "status": 502, "body": "html"},
    "503": {"fault": "status", "status": 503},
    "429": {"fault": "throttled"},
    "429 with Retry-After": {"fault": "throttled", "retry_after_s": 1},
    "reset before acting": {"fault": "drop"},
    "reset after acting": {"fault": "drop", "acts": True},
    "slower than the timeout": {"fault": "slow", "latency_s": 4, "acts": True},
    "half an answer": {"fault": "cut"},
    "queued": {"fault": "queued", "on": "allocate"},
    "missing in the answer": {"fault": "omit", "on": "allocate", "acts": True},
    "garbage": {"fault": "garbage", "acts": True},
}


def _api_fault(choice: random.Random, name: str) -> dict[str, Any]:
    return {"share": round(choice.uniform(0.02, 0.15), 3), "times_each": 2, **API_FAULTS[name]}


def two_of_everything(system: System, seed: int, orders: int, count: int) -> Result:
    """Two intakes, two workers, two beats."""
    system.start("intake:2", "worker:2", "beat:2")
    run = Run(system, seed, orders, write_merchants(system))
    for _ in run.shares(count):
        system.publish(order_event(merchant, [reference]) for merchant, reference in run.shipments[:50])
    return run.end("two of everything")


def short_soak(system: System, seed: int, orders: int, count: int) -> Result:  # noqa: ARG001  # it has faults of its own
    """Ten seconds at a steady rate, while processes are killed and replaced and some API calls fail."""
    soaked = Soak(system, rate=orders / 10, seconds=10).run()
    return Result(
        scenario="short soak",
        seed=seed,
        orders=soaked.orders,
        figures=soaked.figures,
        seconds=round(soaked.seconds, 1),
        after_last_fault_s=round(soaked.seconds - 10, 1),
    )


SCENARIOS: dict[str, Callable[[System, int, int, int], Result]] = {
    "kills": kills,
    "terminations": terminations,
    "broker": broker_emptied,
    "redis": redis_killed,
    "frozen": redis_frozen,
    "full": redis_full,
    "refusals": refusals,
    "failover": failover,
    "tail": tail_cut,
    "api": api_faults,
    "two": two_of_everything,
    "late": late,
    "recovery": recovery,
    "crash loop": crash_loop,
    "paused": paused,
    "poison": poison,
    "soak": short_soak,
}
"""Each takes the system, a seed, the number of orders and the number of faults."""
