"""The whole system for a test: a separate server, the sandbox API and the processes of the Procfile, all real."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import redis

from config.merchant_files.reading import read_all
from config.merchant_files.retry import Retry
from tests.acceptance.call_log import Call, called_too_early, called_too_late, calls_by_shipment
from worker.lab.embedded_server import EmbeddedServer

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
KEY = "sandbox-key"


def procfile() -> dict[str, list[str]]:
    """The commands of the Procfile by process name."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {name: shlex.split(command) for name, _, command in (line.partition(":") for line in lines if line)}


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str = "the condition") -> None:
    """Poll until the condition holds; a failed assertion names it."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not hold within {timeout_s} s"
        time.sleep(0.05)


def order_event(merchant: str, references: Sequence[str], **data: Any) -> dict[str, Any]:
    """An order-created event with one shipment for each reference."""
    facts = data.pop("facts", {})
    return {
        "specversion": "1.0",
        "id": data.pop("event_id", f"evt-{merchant}-{references[0]}"),
        "source": "urn:shop:test",
        "type": "order.created",
        "data": {
            "merchant": merchant,
            "order": data.pop("order", f"order-{references[0]}"),
            "shipments": [{"reference": reference, **facts} for reference in references],
            **data,
        },
    }


QUICK = "[retry]\nquiet_seconds = 1\n"
"""The simulated API acts at once unless a fault delays it, so a short quiet time is enough."""


def v2_file(
    url: str, strategy: str, fallback: str = "[]", more: str = QUICK, key: str = "SANDBOX_KEY", api: str = ""
) -> str:
    """A v2 merchant file. `api`: more lines of its `[api]`; `more`: its other tables."""
    return (
        f'[api]\nflavour = "shipments-v2"\nbase_url = "{url}/pro"\napi_key = {{ env = "{key}" }}\n{api}'
        f"[allocation]\nstrategy = {strategy}\nfallback = {fallback}\n{more}"
    )


def v1_file(
    url: str, strategy: str, fallback: str = "[]", body_format: str = "json", more: str = QUICK, api: str = ""
) -> str:
    """A v1 merchant file. `api`: more lines of its `[api]`; `more`: its other tables."""
    return (
        f'[api]\nflavour = "consignments-v1"\nbase_url = "{url}"\napi_key = {{ env = "SANDBOX_KEY" }}\n'
        f'format = "{body_format}"\n{api}[allocation]\nstrategy = {strategy}\nfallback = {fallback}\n{more}'
    )


AFTER_THE_API = (shutil.which("nice") or "/usr/bin/nice", "-n", "10")
"""The simulated API has priority over the processes under test, as in production it has a separate machine.

Its delays are counted from when it reads a request. On a busy machine that could be after the worker's timeout.
"""


class System:
    """The whole system on this machine, seen from outside: input and output streams, and the API's counts."""

    def __init__(self, folder: Path, *, sandbox: Sequence[str] = (), binary: str = "", **environment: str) -> None:
        """`sandbox`: more arguments for `allocation sandbox`; `binary`: another server than the embedded one.

        `environment`: more variables for every process.
        """
        self.folder = folder
        self.merchants = folder / "merchants"
        self.merchants.mkdir(parents=True)
        self.server = EmbeddedServer(folder / "redis", binary=Path(binary) if binary else None)
        self.server.start()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ALLOCATION_")},
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "ALLOCATION_REDIS_URL": self.server.url,
            "ALLOCATION_MERCHANTS_DIR": str(self.merchants),
            "ALLOCATION_SWEEP_SECONDS": "1",
            "ALLOCATION_LEASE_SECONDS": "4",
            "SANDBOX_KEY": KEY,
            **environment,
        }
        self.redis: Any = redis.Redis(port=self.server.port, decode_responses=True)
        self.log = (folder / "processes.log").open("ab")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.commands = procfile()
        self.url = self._start_sandbox(sandbox)

    def _start_sandbox(self, words: Sequence[str]) -> str:
        command = [str(BIN / "allocation"), "sandbox", "--port", "0", *words]
        self.sandbox = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, env=self.environment)
        assert self.sandbox.stdout
        line = self.sandbox.stdout.readline().decode()
        return line.split()[-1]

    def merchant(self, name: str, text: str) -> None:
        """Write a merchant file atomically."""
        part = self.merchants / f"{name}.part"
        part.write_text(text)
        part.rename(self.merchants / f"{name}.toml")

    def start(self, *roles: str, **environment: str) -> None:
        """Start processes of the Procfile, each with a unique name: `worker`, or `worker:2` for a second one."""
        for role in roles:
            command = self.commands[role.partition(":")[0]]
            self.processes[role] = subprocess.Popen(
                [*AFTER_THE_API, *command],
                env={**self.environment, **environment},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=self.log,
                start_new_session=True,
            )

    def children(self, role: str) -> list[int]:
        """The children of a process."""
        pid = self.processes[role].pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def kill(self, role: str) -> None:
        """`kill -9` a process and its children, as when a container is killed."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.processes[role].pid, signal.SIGKILL)
        self.processes[role].wait()

    def terminate(self, role: str, timeout_s: float = 30) -> int:
        """SIGTERM, then wait; returns the exit code."""
        self.processes[role].terminate()
        return self.processes[role].wait(timeout_s)

    def publish(self, events: Iterable[dict[str, Any] | str | bytes]) -> None:
        """Publish events to the orders stream."""
        pipe = self.redis.pipeline(transaction=False)
        for event in events:
            pipe.xadd("orders.created", {"event": json.dumps(event) if isinstance(event, dict) else event})
        pipe.execute()

    def stream(self, name: str) -> list[dict[str, Any]]:
        """The data of every event of an output stream."""
        return [json.loads(entry["event"])["data"] for _, entry in self.redis.xrange(name)]

    def allocated(self) -> list[dict[str, Any]]:
        """The data of every allocated event."""
        return self.stream("shipments.allocated")

    def failed(self) -> list[dict[str, Any]]:
        """The data of every failed event."""
        return self.stream("shipments.allocation_failed")

    def rejected(self) -> list[dict[str, str]]:
        """Every entry of the rejected stream."""
        return [entry for _, entry in self.redis.xrange("orders.rejected")]

    def settled(self) -> int:
        """Number of settled shipments; 0 while the server is unavailable."""
        with contextlib.suppress(redis.RedisError):
            return int(self.redis.xlen("shipments.allocated") + self.redis.xlen("shipments.allocation_failed"))
        return 0

    def wait_settled(self, count: int, timeout_s: float = 60) -> None:
        """Wait until this number of shipments is settled."""
        wait_until(lambda: self.settled() >= count, timeout_s, f"{count} settled shipments")

    def faults(self, *faults: dict[str, Any]) -> None:
        """Replace the sandbox's faults."""
        httpx.delete(f"{self.url}/_sandbox/faults").raise_for_status()
        httpx.post(f"{self.url}/_sandbox/faults", json=list(faults)).raise_for_status()

    def create(self, *shipments: dict[str, Any]) -> None:
        """Create shipments at the sandbox."""
        httpx.post(f"{self.url}/_sandbox/shipments", json=list(shipments)).raise_for_status()

    def counts(self) -> dict[str, Any]:
        """The sandbox's counts."""
        counts: dict[str, Any] = httpx.get(f"{self.url}/_sandbox/counts", timeout=30).json()
        return counts

    def logged(self) -> str:
        """The output of all processes."""
        self.log.flush()
        return (self.folder / "processes.log").read_text(errors="replace")

    def calls(self) -> dict[str, list[Call]]:
        """The API's log of calls and read-backs, by shipment."""
        return calls_by_shipment(self.log_entries())

    def log_entries(self) -> list[dict[str, Any]]:
        """The API's log."""
        log: list[dict[str, Any]] = []
        while page := httpx.get(f"{self.url}/_sandbox/calls?since={len(log)}&limit=20000", timeout=60).json():
            log += page
        return log

    def retries(self) -> dict[str, Retry]:
        """The quiet and queue time of each merchant file."""
        good, problems = read_all(self.merchants)
        assert not problems
        return {name: merchant.file.retry for name, merchant in good.items()}

    def called_too_early(self, published: Iterable[tuple[str, str]]) -> list[str]:
        """Every call that violated a quiet time, as text."""
        return self._found(called_too_early, published)

    def called_too_late(self, published: Iterable[tuple[str, str]], within_s: float) -> list[str]:
        """Every call without effect that was not repeated soon after its quiet time, as text."""
        return self._found(partial(called_too_late, within_s=within_s), published)

    def _found(
        self, judge: Callable[[Iterable[Call], Retry], Iterable[str]], published: Iterable[tuple[str, str]]
    ) -> list[str]:
        calls, retries = self.calls(), self.retries()
        return [
            f"{merchant} {reference}: {found}"
            for merchant, reference in published
            for found in judge(calls.get(reference, []), retries[merchant])
        ]

    def verdict(self, published: Iterable[tuple[str, str]]) -> dict[str, int]:
        """The figures that must be zero, for the published merchants and references.

        By now the API has finished all delayed actions. No shipment of these runs has its own reason to fail.
        """
        wanted = set(published)
        wait_until(lambda: self.counts()["pending_late"] == 0, 60, "nothing is late any more")
        allocated = Counter((event["merchant"], event["shipment"]) for event in self.allocated())
        failed = Counter((event["merchant"], event["shipment"]) for event in self.failed())
        counts = self.counts()
        known = {name for name, state in self._api_states().items() if state == "allocated"}
        return {
            "lost": len(wanted - allocated.keys() - failed.keys()),
            "allocated twice": len(counts["allocated_twice"]),
            "blind repeats": len(counts["blind_repeats"]),
            "emitted twice": sum(n > 1 for n in (allocated + failed).values()),
            "failed though allocated": sum(reference in known for _, reference in failed),
            "failed without cause": len(failed),
            "called too early": len(self.called_too_early(wanted)),
            "counted wrongly": self.counted_wrongly(),
            "tracebacks": self.logged().count("Traceback (most recent call last)"),
        }

    def counted_wrongly(self) -> int:
        """How far the counters of metrics are from the distinct event ids of the output streams."""
        found = self.redis.hgetall("allocation:metrics")
        counters = [(json.loads(field)[0], int(number)) for field, number in found.items()]
        streams = {"allocated": "shipments.allocated", "failed": "shipments.allocation_failed"}
        return sum(
            abs(sum(number for name, number in counters if name == kind) - len(self._event_ids(stream)))
            for kind, stream in streams.items()
        )

    def _event_ids(self, stream: str) -> set[str]:
        return {json.loads(entry["event"])["id"] for _, entry in self.redis.xrange(stream)}

    def _api_states(self) -> dict[str, str]:
        """The API's state of the failed shipments."""
        states = {}
        for event in self.failed():
            history = httpx.get(f"{self.url}/_sandbox/shipments/{event['shipment']}").json()
            states[event["shipment"]] = history.get("state", "")
        return states

    def stop(self) -> None:
        """Stop everything."""
        for role, process in self.processes.items():
            if process.poll() is None:
                self.kill(role)
        self.sandbox.kill()
        self.sandbox.wait()
        if self.sandbox.stdout:
            self.sandbox.stdout.close()
        self.redis.close()
        self.server.kill()
        self.log.close()


ALL_ZERO = {
    "lost": 0,
    "allocated twice": 0,
    "blind repeats": 0,
    "emitted twice": 0,
    "failed though allocated": 0,
    "failed without cause": 0,
    "called too early": 0,
    "counted wrongly": 0,
    "tracebacks": 0,
}


@contextlib.contextmanager
def running(
    folder: Path, *roles: str, sandbox: Sequence[str] = (), binary: str = "", **environment: str
) -> Iterator[System]:
    """A system with these processes; their output is shown when the test fails."""
    system = System(folder, sandbox=sandbox, binary=binary, **environment)
    try:
        system.start(*roles)
        yield system
    except BaseException:
        sys.stderr.write(system.logged()[-8000:])
        raise
    finally:
        system.stop()
