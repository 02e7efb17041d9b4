"""A run in which much goes wrong while secrets are about: what is planted, what happens, and all that was said."""

import base64
import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import redis
from celery import Celery
from kombu import Connection

from config.celery_options import BATCHES
from tasks.allocate import ALLOCATE_TASK
from tests.acceptance.spies import Answer, Seen, Spy, forward
from tests.acceptance.system import BIN, ROOT, System, order_event, running, v1_file, v2_file, wait_until
from worker.server import free_port

KEY_IN_ENV, KEY_IN_FILE, KEY_REFUSED = "KeyInEnv7f3aQ1zz", "KeyInFileB92xLmz", "KeyRefused55TzRw"
KEY_TYPED = "KeyTyped0cVnWq8z"
REDIS_PASSWORD, FLOWER_PASSWORD, SENTRY_KEY = "RedisPw81kLs/#z", "FlowerPw3mXezz", "5e117c0de5e117c0de"
FLOWER_LOGIN = base64.b64encode(f"shop:{FLOWER_PASSWORD}".encode()).decode()
SECRETS = {
    "the key in the environment": KEY_IN_ENV,
    "the key in a file": KEY_IN_FILE,
    "the key that the API refuses": KEY_REFUSED,
    "the key that somebody typed into a merchant file": KEY_TYPED,
    "the password of Redis": "RedisPw81kLs",
    "the password of Flower": FLOWER_PASSWORD,
    "the login of Flower": FLOWER_LOGIN,
    "the key of Sentry": SENTRY_KEY,
}
EVIL = "\x1b]0;owned\x07\x9b2J\u202e\u2028\r\nevil\x00"
"""Sets a terminal's title, clears it, turns the direction of writing, forges a line, ends a C string."""

ROLES = ("intake", "worker", "beat", "flower")
LINET = '{ virtual_service = "FF_LINET-00001" }'
_STRUCK: list[dict[str, Any]] = [
    {"fault": "status", "references": ["sp_500"]},
    {"fault": "status", "references": ["sp_500acted"], "acts": True},
    {"fault": "drop", "references": ["sp_reset"]},
    {"fault": "drop", "references": ["sp_resetacted"], "acts": True},
    {"fault": "slow", "references": ["sp_slow"], "latency_s": 1.5, "acts": True},
    {"fault": "garbage", "references": ["sp_garbage"], "acts": True},
    {"fault": "throttled", "references": ["sp_throttled"], "retry_after_s": 1},
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """What is left of the run. `said`: all that came out, by its place; `api`: all that the API was sent."""

    system: System
    said: dict[str, str]
    api: list[Seen]
    elsewhere: list[Seen]
    marker: Path


class _Twists:
    """Stands before the API and answers some shipments' first call in its own way."""

    def __init__(self, elsewhere: str) -> None:
        """`elsewhere`: where redirects point to; `api` must be set before the first request."""
        self.api = ""
        self._elsewhere = elsewhere
        self._left = {"sp_redirect", "sp_echo"}

    def __call__(self, request: Seen) -> Answer:
        for reference in [r for r in self._left if r in request.path + request.body.decode()]:
            self._left.discard(reference)
            if reference == "sp_redirect":
                return Answer(status=307, headers={"Location": self._elsewhere + request.path})
            echo = {"code": "validation_error", "message": f"{KEY_IN_ENV} may not do this {EVIL}", "details": []}
            return Answer(status=400, headers={"Content-Type": "application/json"}, body=json.dumps(echo).encode())
        answer = forward(self.api, request)
        return _with_bad_links(answer) if "sp_label" in request.path else answer


def _with_bad_links(answer: Answer) -> Answer:
    body = json.loads(answer.body)
    bad = ("javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//evil.test/label", "ftp://evil.test/pdf")
    body["_links"] += [{"href": href, "rel": "label", "type": "pdf"} for href in bad]
    return Answer(status=answer.status, headers=answer.headers, body=json.dumps(body).encode())


@contextlib.contextmanager
def played(folder: Path) -> Iterator[Story]:
    """The whole run; its server and its sandbox are still there inside the `with`."""
    with contextlib.ExitStack() as stack:
        elsewhere, sentry = stack.enter_context(Spy()), stack.enter_context(Spy())
        twists = _Twists(elsewhere.url)
        api = stack.enter_context(Spy(twists))
        dsn = f"http://{SENTRY_KEY}@127.0.0.1:{sentry.port}/1"
        system = stack.enter_context(_system(folder, dsn))
        twists.api = system.url
        channels = _listen(stack, system)
        _write_merchants(system, api.url)
        system.start(*ROLES)
        wait_until(lambda: system.redis.pubsub_numpat() >= 3, 30, "Flower and the worker listening")
        marker = folder / "unpickled"
        _play(system, marker)
        said = {"what the commands print": _commands(system), "Flower": _flower_pages(system)}
        said["command lines"] = "\n".join(_command_lines(system))
        _end(system)
        said["logs"] = system.logged()
        said["Redis"] = _all_writes(system)
        said["channels of Redis"] = "\n".join(map(str, channels))
        said["Sentry"] = "\n".join(seen.body.decode(errors="replace") for seen in sentry.seen)
        yield Story(system=system, said=said, api=api.seen, elsewhere=elsewhere.seen, marker=marker)


@contextlib.contextmanager
def _system(folder: Path, dsn: str) -> Iterator[System]:
    environment = {
        "PLANTED_KEY": KEY_IN_ENV,
        "SENTRY_DSN": dsn,
        "ALLOCATION_FLOWER_PORT": str(free_port()),
        "ALLOCATION_FLOWER_BASIC_AUTH": f"shop:{FLOWER_PASSWORD}",
        "ALLOCATION_CONCURRENCY": "2",
    }
    with running(folder, sandbox=("--key", KEY_IN_ENV, "--key", KEY_IN_FILE), **environment) as system:
        system.redis.execute_command(
            "ACL", "SETUSER", "allocation", "on", f">{REDIS_PASSWORD}", "~*", "&*", "+@all"
        )  # type: ignore[no-untyped-call]
        login = f"allocation:{quote(REDIS_PASSWORD, safe='')}"
        system.environment["ALLOCATION_REDIS_URL"] = f"redis://{login}@127.0.0.1:{system.server.port}/0"
        yield system


def _listen(stack: contextlib.ExitStack, system: System) -> list[Any]:
    """Everything that is published: Celery's events and its remote control."""
    heard: list[Any] = []
    client = stack.enter_context(redis.Redis(port=system.server.port))
    pubsub = client.pubsub()
    pubsub.psubscribe(**{"*": heard.append})
    thread = pubsub.run_in_thread(sleep_time=0.1, daemon=True)
    stack.callback(lambda: (thread.stop(), thread.join()))
    return heard


def _write_merchants(system: System, url: str) -> None:
    file = system.folder / "key"
    for name, key in (("file", KEY_IN_FILE), ("refused", KEY_REFUSED)):
        file.with_name(name).write_text(key)
        text = v1_file(url, LINET.replace("virtual", "carrier")) if name == "file" else v2_file(url, LINET)
        source = f'{{ file = "{file.with_name(name)}" }}'
        system.merchant(name, text.replace('{ env = "SANDBOX_KEY" }', source))
    quick = v2_file(url, LINET, key="PLANTED_KEY").replace("[alloc", "timeout_s = 1\n[alloc", 1)
    system.merchant("env", quick)
    system.merchant("none", v2_file(url, '{ carrier_service = "NONE" }', '[{ service_group = "NONE" }]', "", "PLANTED_KEY"))
    system.merchant("plain", v2_file(url.replace("127.0.0.1", "0.0.0.0"), LINET, key="PLANTED_KEY"))
    for number, mistake in enumerate((f'"{KEY_TYPED}"', f'{{ env = "{KEY_TYPED}" }}', f'{{ key = "{KEY_TYPED}" }}')):
        system.merchant(f"typed{number}", quick.replace('{ env = "PLANTED_KEY" }', mistake))
    system.merchant("broken", quick.replace('{ env = "PLANTED_KEY" }', KEY_TYPED))


def _play(system: System, marker: Path) -> None:
    """Orders good and bad through an API that misbehaves, and messages that no task wrote."""
    system.faults(*({**fault, "times": 1} for fault in _STRUCK))
    struck = [reference for fault in _STRUCK for reference in fault["references"]]
    good = [*struck, "sp_redirect", "sp_echo", "sp_label"]
    system.publish(
        [
            order_event("env", good, order=EVIL, event_id=EVIL, shipping_method=EVIL, facts={"tags": [EVIL]}),
            *(order_event(name, [f"sp_{name}"]) for name in ("file", "none", "refused", "typed1")),
            *_bad_events(),
        ]
    )
    system.wait_settled(len(good) + 2, 40)
    _put_foreign_messages(system, marker)
    system.publish([order_event("env", ["sp_last"])])
    system.wait_settled(len(good) + 3, 20)
    wait_until(lambda: {"refused", "typed1"} <= system.redis.hgetall("allocation:paused").keys(), 20, "the pauses")
    assert len(system.rejected()) == len(_bad_events())


def _bad_events() -> list[Any]:
    bad = order_event("env", ["sp_x"])
    return [
        EVIL,
        {**bad, "id": ""},
        order_event("env", [EVIL]),
        order_event(EVIL, ["sp_x"]),
        {**bad, "data": {**bad["data"], EVIL: EVIL, "order": 5}},
        *(order_event(name, ["sp_x"]) for name in ("nobody", "plain", "typed0", "typed2", "broken")),
    ]


class _Bomb:
    """Touches a file when somebody unpickles it."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._marker,)


def _put_foreign_messages(system: System, marker: Path) -> None:
    """A pickle on the batches' queue, and a task with arguments that no task has."""
    broker = system.environment["ALLOCATION_REDIS_URL"].removesuffix("/0") + "/1"
    with Connection(broker) as connection:
        headers = {"task": ALLOCATE_TASK, "id": "bomb"}
        connection.Producer().publish(
            pickle.dumps(((), {"bomb": _Bomb(marker)}, {})),
            routing_key=BATCHES,
            headers=headers,
            content_type="application/x-python-serialize",
            content_encoding="binary",
        )
        with Celery(broker=broker, set_as_current=False) as app:
            app.send_task(ALLOCATE_TASK, kwargs={"merchant": "env", "odd": EVIL}, queue=BATCHES, connection=connection)


def _commands(system: System) -> str:
    """Every command that tells of something, as a table and as JSON, and what those say that fail."""
    asked = [["check"], ["status"], ["explain", "sp_echo"], ["explain", "sp_none"], ["failed"]]
    wrong = {
        "ALLOCATION_REDIS_URL": f"redis://:{REDIS_PASSWORD[:12]}@127.0.0.1:{free_port()}/0",
        "ALLOCATION_BROKER_URL": f"http://:{REDIS_PASSWORD[:12]}@broker.test",
    }
    runs = [_run(system, [*words, *json_flag]) for words in asked for json_flag in ([], ["--json"])]
    runs += [_run(system, ["status"], **{name: value}) for name, value in wrong.items()]
    runs += [_run(system, ["check"], ALLOCATION_BROKER_URL=wrong["ALLOCATION_BROKER_URL"])]
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
    worker = f"celery@{socket.gethostname()}"
    url = f"http://127.0.0.1:{system.environment['ALLOCATION_FLOWER_PORT']}"
    table = "/tasks/datatable?draw=1&start=0&length=100&order[0][column]=0&columns[0][data]=name"
    with httpx.Client(base_url=url, auth=("shop", FLOWER_PASSWORD), timeout=30) as client:
        tasks = client.get("/api/tasks").json()
        paths = ["/workers", "/tasks", table, f"/worker/{worker}", "/broker", "/api/tasks", "/api/workers", "/metrics"]
        return "\n".join(client.get(path).text for path in [*paths, *(f"/task/{task}" for task in tasks), "/nothing"])


def _command_lines(system: System) -> Iterator[str]:
    """What everybody on the machine can read of the processes."""
    for role, process in system.processes.items():
        for pid in (process.pid, *system.children(role)):
            yield Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def _end(system: System) -> None:
    """Let all processes end in good order, side by side."""
    for process in system.processes.values():
        os.kill(process.pid, signal.SIGTERM)
    for process in system.processes.values():
        process.wait(30)


def _all_writes(system: System) -> str:
    """The append-only file: every write to both databases, of every type, also of what has been deleted since."""
    files = (system.server.folder / "appendonlydir").iterdir()
    return "\n".join(file.read_bytes().decode(errors="replace") for file in files)
