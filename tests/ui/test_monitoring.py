"""The shipped alerts and board with a real Prometheus: each alert fires for its fault, and none without one."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.system import BIN, ROOT, System, order_event, running, v2_file, wait_until
from tests.ui.prometheus_server import FOLDER, Prometheus, scraping
from worker.lab.embedded_server import EmbeddedServer, free_port

pytestmark = pytest.mark.timeout(300)

LINET, EXPRESS = '{ carrier_service = "FF_LINET-00001" }', '{ carrier_service = "EXPRESS" }'
ROLES = ("intake", "worker", "beat")
QUIET = "[retry]\nquiet_seconds = 4\n"
HEAVY, TOO_HEAVY = {"weight_kg": 28}, {"weight_kg": 45}
"""Facts of shipments that only the fallback takes, and that none takes."""

SHARES = {"AllocationFallbacksRising", "AllocationUnknownRising", "AllocationFailuresRising"}
BOARD_VARIABLES = {
    "$job": "allocation",
    'merchant="$merchant"': 'merchant=~".+"',
    "$__rate_interval": "20s",
    "$__range": "60s",
}


@dataclass
class Watched:
    """A running system, and the server that watches it."""

    system: System
    broker: EmbeddedServer
    prometheus: Prometheus
    publishers: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    down: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    """Host and port of an API that does not listen."""

    def merchant(self, name: str, *, key: str = "SANDBOX_KEY", more: str = QUIET, url: str = "") -> None:
        """Write a merchant file. `more`: its other tables."""
        text = v2_file(url or self.system.url, LINET, f"[{EXPRESS}]", more, key=key, api="timeout_s = 3\n")
        self.system.merchant(name, text)

    def publish(self, merchant: str, facts: Sequence[dict[str, Any]], count: int, rate: int) -> None:
        """Publish orders of one shipment each in the background, of each kind in turn, at this rate per second."""
        name = f"{merchant}_{len(self.publishers)}"
        events = [
            order_event(merchant, [f"sp_{name}_{number}"], facts=facts[number % len(facts)]) for number in range(count)
        ]
        file = self.system.folder / f"{name}.jsonl"
        file.write_text("\n".join(map(json.dumps, events)))
        command = [str(BIN / "allocation"), "publish", str(file), "--rate", str(rate)]
        environment = self.system.environment
        self.publishers.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))

    def stop_publishers(self) -> None:
        """Stop those that still publish."""
        for each in self.publishers:
            each.kill()
            each.wait()

    def wait_firing(self, *alerts: tuple[str, str], timeout_s: float = 60) -> None:
        """Wait until all of these alerts fire at the same time."""
        wanted = {(f"Allocation{name}", subject) for name, subject in alerts}
        with suppress(AssertionError):
            wait_until(lambda: wanted <= self.prometheus.firing(), timeout_s)
        assert wanted - self.prometheus.firing() == set()


@contextmanager
def metrics_of(system: System) -> Iterator[str]:
    """`allocation metrics` beside the system: its host and port."""
    command = [str(BIN / "allocation"), "metrics", "--port", "0"]
    process = subprocess.Popen(command, env=system.environment, cwd=system.folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield process.stdout.readline().split()[-1].split("/")[2]
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@pytest.fixture(scope="module")
def watched(prometheus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A healthy system with a steady flow of orders, watched by Prometheus."""
    folder = tmp_path_factory.mktemp("watched")
    with ExitStack() as stack:
        broker = EmbeddedServer(folder / "broker")
        broker.start()
        stack.callback(broker.stop)
        environment = {"ALLOCATION_BROKER_URL": broker.url, "WRONG_KEY": "another"}
        system = stack.enter_context(running(folder, *ROLES, sandbox=("--follow",), **environment))
        wait_until(lambda: _is_healthy(system), 30, "a healthy system")
        target = stack.enter_context(metrics_of(system))
        watched = Watched(system, broker, stack.enter_context(scraping(prometheus, folder, target)))
        stack.callback(watched.stop_publishers)
        watched.merchant("acme")
        watched.publish("acme", [{}], 500, 4)
        yield watched


def _is_healthy(system: System) -> bool:
    command = [str(BIN / "allocation"), "status", "--json"]
    return subprocess.run(command, env=system.environment, capture_output=True, check=False).returncode == 0


def test_files_are_valid(promtool: Path, tmp_path: Path) -> None:
    """Prometheus accepts the rules, and the scrape configuration that names them."""
    for kind, file in (("rules", "alerts.yml"), ("config", "prometheus.yml")):
        command = [str(promtool), "check", kind, str(FOLDER / file)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_rules(promtool: Path) -> None:
    """Each alert fires for the series that it is for, and not for steady ones."""
    command = [str(promtool), "test", "rules", str(ROOT / "tests/ui/alerts_test.yml")]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_alert_without_a_fault(watched: Watched) -> None:
    """Allocations for half a minute: no alert fires."""
    settled = 'max(count_over_time(allocation:settled:increase10m{merchant="acme"}[60s])) > 25'
    wait_until(lambda: bool(watched.prometheus.query(settled)), 60, "25 evaluations")
    # Not of the first seconds, before the first scrape.
    assert watched.prometheus.query('count_over_time(ALERTS{alertstate="firing"}[20s])') == []


def test_merchants_that_cannot_go_on(watched: Watched) -> None:
    """Key and file: each alert names the merchant, and how many shipments wait."""
    watched.merchant("refused", key="WRONG_KEY")
    watched.merchant("keyless", key="NO_SUCH_KEY", more="[retry]\nquiet_seconds = 4\ndeadline_hours = 0.015\n")
    watched.merchant("gone", key="NO_SUCH_KEY")
    watched.merchant("down", url=f"http://{watched.down}")
    watched.system.merchant("invalid", "[api")
    for name in ("refused", "keyless", "gone", "down", "invalid"):
        watched.publish(name, [{}], 20, 50)
    parked = 'allocation_shipments{merchant="gone", state="parked"} == 20'
    wait_until(lambda: bool(watched.prometheus.query(parked)), 30, "parked shipments")
    (watched.system.merchants / "gone.toml").unlink()
    watched.wait_firing(
        ("MerchantPaused", "refused"), ("KeyMissing", "keyless"), ("FileInvalid", "invalid"), ("FileMissing", "gone")
    )
    description = watched.prometheus.description("AllocationMerchantPaused")
    assert description.startswith("20 shipments of refused are waiting. `allocation status --merchant refused` has")


def test_shares_that_rise(watched: Watched) -> None:
    """Fallbacks, failures and unknown outcomes of a merchant that had none."""
    repeated = {"fault": "drop", "on": "allocate", "references": ["sp_twice"], "times": 1}
    watched.system.faults(repeated, {"fault": "drop", "on": "allocate", "acts": True, "times_each": 1, "share": 0.3})
    watched.system.publish([order_event("acme", ["sp_twice"])])
    watched.publish("acme", [HEAVY, TOO_HEAVY, {}], 400, 8)
    _book_twice(watched.system, "sp_twice")
    watched.wait_firing(("FallbacksRising", "acme"), ("FailuresRising", "acme"), ("UnknownRising", "acme"))


def test_the_board(watched: Watched) -> None:
    """Every query has data, once there is something of everything."""
    system = watched.system
    system.faults({"fault": "throttled", "on": "read", "times": 3, "retry_after_s": 1})
    system.publish(["{"])
    subprocess.run([str(BIN / "allocation"), "hold", "gone", "--why", "test"], env=system.environment, check=True)
    system.redis.config_set("maxmemory", round(system.redis.info()["used_memory"] / 0.9))
    watched.wait_firing(("MemoryLow", ""), ("DeadlineNear", "keyless"))
    board = json.loads((FOLDER / "board.json").read_text())
    wanted = {target["expr"] for panel in board["panels"] for target in panel.get("targets", ())}

    def filled() -> bool:
        wanted.difference_update([each for each in wanted if _has_data(watched.prometheus, each)])
        return not wanted

    with suppress(AssertionError):
        wait_until(filled, 40)
    assert wanted == set()
    system.redis.config_set("maxmemory", 0)


def _book_twice(system: System, reference: str) -> None:
    """The API has another carrier after the second call, before the worker's recheck of the carrier."""
    wait_until(lambda: any(event["shipment"] == reference for event in system.allocated()), 30, "an allocation")
    system.create({"reference": reference, "state": "allocated", "weight_kg": 28})


def _has_data(prometheus: Prometheus, expression: str) -> bool:
    """Whether it had data; of any merchant where the board shows the chosen one."""
    for variable, value in BOARD_VARIABLES.items():
        expression = expression.replace(variable, value)
    found = prometheus.query(f"last_over_time(({expression})[60s:5s])")
    return any(sample["value"][1] != "NaN" for sample in found)


def test_what_takes_a_minute(watched: Watched) -> None:
    """A breaker that stays open; an order that no intake reads; shipments that no worker claims; no sweep."""
    system = watched.system
    system.terminate("intake")
    system.publish([order_event("acme", ["sp_unread"])])
    watched.wait_firing(("BreakerOpen", watched.down), ("ProcessMissing", "intake"), timeout_s=90)
    system.terminate("worker")
    system.terminate("beat")
    watched.wait_firing(
        ("ProcessMissing", "intake"), ("ProcessMissing", "worker"), ("ProcessMissing", "beat"), ("SweepLate", "")
    )
    watched.wait_firing(("OrderUnread", ""), ("DueLate", "down"), timeout_s=90)


def test_orders_lost(watched: Watched) -> None:
    """Entries that were deleted before an intake read them."""
    watched.stop_publishers()
    watched.system.redis.xtrim("orders.created", maxlen=0, approximate=False)
    for role in ROLES:
        watched.system.kill(role)
    watched.system.start(*ROLES)
    watched.wait_firing(("OrdersLost", ""))


def test_servers(watched: Watched) -> None:
    """A broker that is gone; a Redis server that refuses writes, and one that is gone."""
    watched.broker.stop()
    watched.wait_firing(("BrokerUnavailable", ""))
    watched.system.redis.replicaof("127.0.0.1", str(free_port()))
    watched.wait_firing(("RedisUnavailable", ""))
    watched.system.server.kill()
    watched.wait_firing(("MetricsUnavailable", ""))
    assert {name for name, _ in watched.prometheus.firing()} <= {"AllocationMetricsUnavailable", *SHARES}
