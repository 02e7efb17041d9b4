"""How long the operators' commands take on a ledger with a long history, each as a whole process."""

import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.perf.bench.filled_ledger import Content, event_id, order_number, reference
from tests.perf.bench.processes import started
from tests.perf.bench.rig import LONGEST_S, BenchError
from worker.processes.readings import METRICS_KEPT_S

_PROBLEM_FOUND = 1
"""The exit code of `allocation status` when no process runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command line without `allocation`. `shows`: what a correct output contains; `most_s`: the goal."""

    name: str
    words: Sequence[str]
    shows: str
    most_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandTime:
    """The time of a command from its start to its end, in seconds, over several runs. `most_s`: the goal."""

    command: str
    merchants: int
    shipments: int
    runs: int
    median_s: float
    slowest_s: float
    most_s: float


def commands(content: Content) -> list[Command]:
    """The measured commands, for one of the shipments."""
    number = content.shipments // 3
    shows = reference(number)
    failed, rejected = f"{content.failed} shipments", f"{content.rejected} rejected events"
    return [
        Command(name="status", words=["status"], shows=f"{content.rejected} events to deal with", most_s=1),
        Command(name="explain, by reference", words=["explain", shows], shows=shows, most_s=1),
        Command(name="explain, by order number", words=["explain", order_number(number)], shows=shows, most_s=1),
        Command(name="explain, by event id", words=["explain", event_id(number)], shows=shows, most_s=1),
        Command(name="failed", words=["failed"], shows=failed, most_s=2),
        Command(name="failed --list", words=["failed", "--list"], shows=failed, most_s=2),
        Command(name="rejected", words=["rejected"], shows=rejected, most_s=2),
    ]


def command_times(content: Content, runs: int, environment: Mapping[str, str], log: Path) -> Iterator[CommandTime]:
    """Run every command in turn, several times over. Raises BenchError if one fails."""
    measured = commands(content)
    times: dict[str, list[float]] = {each.name: [] for each in measured}
    for _ in range(runs):
        for each in measured:
            times[each.name].append(_run(each, environment, log))
    for each in measured:
        yield CommandTime(
            command=each.name,
            merchants=content.merchants,
            shipments=content.shipments,
            runs=runs,
            median_s=round(statistics.median(times[each.name]), 3),
            slowest_s=round(max(times[each.name]), 3),
            most_s=each.most_s,
        )


def scrape_time(content: Content, runs: int, environment: Mapping[str, str], log: Path) -> CommandTime:
    """The time of a scrape, each of a new text. The first one, which reads the merchant files, is left out."""
    times = []
    with (
        started(["allocation", "metrics", "--port", "0"], log, environment, stdout=subprocess.PIPE) as process,
        # As Prometheus does, over one connection.
        httpx.Client(timeout=LONGEST_S) as client,
    ):
        assert process.stdout
        url = process.stdout.readline().decode().split()[-1]
        for run in range(runs + 1):
            time.sleep(METRICS_KEPT_S if run else 0)
            began = time.monotonic()
            response = client.get(url)
            times.append(time.monotonic() - began)
            if "allocation_shipments_allocated_total{" not in response.text:
                raise BenchError(f"a scrape got {response.status_code}: {response.text[:1000]}")
        process.stdout.close()
    return CommandTime(
        command="metrics, a scrape",
        merchants=content.merchants,
        shipments=content.shipments,
        runs=runs,
        median_s=round(statistics.median(times[1:]), 3),
        slowest_s=round(max(times[1:]), 3),
        most_s=0.3,
    )


def _run(command: Command, environment: Mapping[str, str], log: Path) -> float:
    began = time.monotonic()
    with started(["allocation", *command.words], log, environment, stdout=subprocess.PIPE) as process:
        output, _ = process.communicate(timeout=LONGEST_S)
    took_s = time.monotonic() - began
    if process.returncode not in {0, _PROBLEM_FOUND} or command.shows not in output.decode():
        raise BenchError(f"{command.name} ended with {process.returncode}\n{log.read_text(errors='replace')[-4000:]}")
    return took_s
