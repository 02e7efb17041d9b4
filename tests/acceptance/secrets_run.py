"""A run with many errors and planted secrets, and all its output."""

import base64
import contextlib
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import redis

from tests.acceptance import hostile_input
from tests.acceptance.recording_servers import ReceivedRequest, RecordingServer
from tests.acceptance.system import BIN, ROOT, System, order_event, running, wait_until
from worker.lab.embedded_server import free_port

ROLES = ("intake", "worker", "beat", "flower")


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretsRun:
    """The results of the run. `outputs`: all output, by its place; `api`: all requests to the API."""

    system: System
    outputs: dict[str, str]
    api: list[ReceivedRequest]
    other_server: list[ReceivedRequest]
    marker: Path


@contextlib.contextmanager
def secrets_run(folder: Path) -> Iterator[SecretsRun]:
    """The whole run; its server and its sandbox are available inside the `with`."""
    with contextlib.ExitStack() as stack:
        other_server, sentry = stack.enter_context(RecordingServer()), stack.enter_context(RecordingServer())
        proxy = hostile_input.FaultyProxy(other_server.url)
        api = stack.enter_context(RecordingServer(proxy))
        system = stack.enter_context(_system(folder, f"http://{hostile_input.SENTRY_KEY}@127.0.0.1:{sentry.port}/1"))
        proxy.api = system.url
        hostile_input.write_merchants(system, api.url)
        marker = folder / "unpickled"
        outputs = _run_processes(system, marker)
        outputs["Sentry"] = "\n".join(seen.body.decode(errors="replace") for seen in sentry.requests)
        yield SecretsRun(
            system=system, outputs=outputs, api=api.requests, other_server=other_server.requests, marker=marker
        )


@contextlib.contextmanager
def _system(folder: Path, dsn: str) -> Iterator[System]:
    environment = {
        "PLANTED_KEY": hostile_input.KEY_IN_ENV,
        "SANDBOX_KEY": hostile_input.KEY_IN_ENV,
        "SENTRY_DSN": dsn,
        "ALLOCATION_FLOWER_PORT": str(free_port()),
        "ALLOCATION_FLOWER_BASIC_AUTH": f"shop:{hostile_input.FLOWER_PASSWORD}",
        "ALLOCATION_CONCURRENCY": "2",
    }
    keys = ("--key", hostile_input.KEY_IN_ENV, "--key", hostile_input.KEY_IN_FILE)
    with running(folder, sandbox=keys, **environment) as system:
        user: Any = system.redis.execute_command
        user("ACL", "SETUSER", "allocation", "on", f">{hostile_input.REDIS_PASSWORD}", "~*", "&*", "+@all")
        login = f"allocation:{quote(hostile_input.REDIS_PASSWORD, safe='')}"
        system.environment["ALLOCATION_REDIS_URL"] = f"redis://{login}@127.0.0.1:{system.server.port}/0"
        yield system


def _run_processes(system: System, marker: Path) -> dict[str, str]:
    """Run all processes; returns their output, by its place."""
    with redis.Redis(port=system.server.port) as client, client.pubsub() as channels:
        channels.psubscribe("*")
        system.start(*ROLES)
        wait_until(lambda: system.redis.pubsub_numpat() >= 3, 30, "Flower and the worker to listen")
        _publish(system, marker)
        outputs = {"Flower": _flower_pages(system), "command lines": "\n".join(_command_lines(system))}
        for process in system.processes.values():
            process.terminate()
        outputs["what the commands print"] = _commands(system)
        for process in system.processes.values():
            process.wait(30)
        outputs["channels of Redis"] = _with_bodies("\n".join(_published(channels)))
    return {**outputs, "logs": system.logged(), "Redis": _with_bodies(_all_writes(system))}


def _publish(system: System, marker: Path) -> None:
    """Publish valid and invalid orders through a faulty API, foreign messages, and one more order."""
    system.faults(*({**fault, "times": 1} for fault in hostile_input.FAULTS))
    system.publish([*hostile_input.valid_orders(), *hostile_input.invalid_events()])
    system.wait_settled(hostile_input.SETTLED, 40)
    hostile_input.put_foreign_messages(system.environment["ALLOCATION_REDIS_URL"].removesuffix("/0") + "/1", marker)
    system.publish([order_event("env", ["sp_last"])])
    system.wait_settled(hostile_input.SETTLED + 1, 20)
    wait_until(lambda: set(hostile_input.PAUSED) <= system.redis.hgetall("allocation:paused").keys(), 20, "the pauses")


def _commands(system: System) -> str:
    """The output of every command that shows data, as JSON and partly as a table, and of failing ones."""
    commands = [["check"], ["explain", "sp_echo"], ["failed"], ["status"]]
    runs = [_run(system, [*words, "--json"]) for words in commands] + [_run(system, words) for words in commands[:2]]
    wrong = f"http://:{quote(hostile_input.REDIS_PASSWORD, safe='')}@127.0.0.1:{free_port()}/0"
    runs += [_run(system, ["check"], ALLOCATION_BROKER_URL=wrong)]
    runs += [_run(system, ["status"], ALLOCATION_REDIS_URL=wrong.replace("http", "redis"))]
    return "\n".join(run.communicate(timeout=30)[0] for run in runs)


def _run(system: System, words: list[str], **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(BIN / "allocation"), *words],
        env={**system.environment, **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _flower_pages(system: System) -> str:
    """All pages of Flower, with its login."""
    url = f"http://127.0.0.1:{system.environment['ALLOCATION_FLOWER_PORT']}"
    table = "/tasks/datatable?draw=1&start=0&length=100&order[0][column]=0&columns[0][data]=name"
    worker = f"/worker/celery@{socket.gethostname()}"
    with httpx.Client(base_url=url, auth=("shop", hostile_input.FLOWER_PASSWORD), timeout=30) as client:
        paths = ["/workers", "/tasks", table, worker, "/broker", "/api/tasks", "/api/workers", "/metrics", "/nothing"]
        paths += [f"/task/{task}" for task in client.get("/api/tasks").json()]
        paths += [f"/allocation{page}" for page in (*_PAGES, *_pages_of_records(system))]
        return "\n".join(client.get(path).text for path in paths)


_PAGES = ("?all=1", "/failures", "/rejected", "/audit", "/metrics", "/shipments?key=sp_echo", "/nothing")


def _pages_of_records(system: System) -> Iterator[str]:
    """The page of every merchant and of every settled shipment, of every rejected event, and of a cause."""
    yield "/failures/cause?merchant=none&reason=all_steps_refused&strategy=service_group+NONE"
    merchants = system.merchants.glob("*.toml")
    yield from (f"/merchants/{path.stem}" for path in merchants)
    events = [*system.allocated(), *system.failed()]
    yield from (f"/shipments/{event['merchant']}/{event['shipment']}" for event in events)
    yield from (f"/rejected/{entry['stream_id']}" for entry in system.rejected())


def _command_lines(system: System) -> Iterator[str]:
    """The command lines of the processes, which any user of the machine can read."""
    for role, process in system.processes.items():
        for pid in (process.pid, *system.children(role)):
            yield Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def _published(channels: Any) -> Iterator[str]:  # a PubSub of redis-py
    """All published messages: Celery's events and its remote control."""
    while message := channels.get_message():
        yield str(message["data"])


def _all_writes(system: System) -> str:
    """The append-only file: every write to both databases, including deleted data."""
    files = (system.server.folder / "appendonlydir").iterdir()
    return "\n".join(file.read_bytes().decode(errors="replace") for file in files)


def _with_bodies(text: str) -> str:
    """The text, with the base64 bodies of Celery's messages decoded."""
    bodies = re.findall(r'"body": "([A-Za-z0-9+/=]+)"', text)
    return "\n".join([text, *(base64.b64decode(body).decode(errors="replace") for body in bodies)])
