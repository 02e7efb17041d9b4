"""Redis and Valkey with minimal rights and over TLS, and Flower."""

import asyncio
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from celery import Celery
from kombu.exceptions import OperationalError
from pydantic import SecretStr

from config.celery_options import SWEEP_TASK
from config.settings import Settings
from tasks.allocate import ALLOCATE_TASK
from tests.acceptance.system import BIN, ROOT, System, order_event, running, v2_file, wait_until
from tests.acceptance.tls import Certificate, TlsProxy, certificate
from tests.perf.chaos.refusals import REFUSALS
from worker.dispatch.broker import configure
from worker.lab.embedded_server import EmbeddedServer, free_port
from worker.redis_client.safety import describe
from worker.redis_client.store import RedisError, connect

ROLES = ("intake", "worker", "beat", "flower")
LOGIN = ("shop", "flower-password")
LINET = '{ virtual_service = "FF_LINET-00001" }'
ORDERS = [
    order_event("acme", [f"sp_{n}" for n in range(7)]),
    order_event("chain", ["sp_chain"]),
    order_event("none", ["sp_none"]),
    order_event("unknown", ["sp_x"]),
]


def least_rights() -> list[str]:
    """The ACL rules of the documented user."""
    (line,) = re.findall(r"ACL SETUSER allocation on >PASSWORD (.+)", (ROOT / "docs/redis.md").read_text())
    return str(line).split()


def settle_orders(system: System) -> None:
    """Orders that are allocated, fall back, fail and are rejected, through all four processes."""
    system.merchant("acme", v2_file(system.url, LINET))
    system.merchant("chain", v2_file(system.url, '{ virtual_service = "NONE" }', '[{ carrier_service = "EXPRESS" }]'))
    system.merchant("none", v2_file(system.url, '{ carrier_service = "NONE" }'))
    system.start(*ROLES)
    wait_until(lambda: system.redis.pubsub_numpat() >= 2, 30, "Flower and the worker listening")
    system.publish(ORDERS)
    system.wait_settled(9, 30)


def with_flower() -> dict[str, str]:
    """The environment of a Flower with a login."""
    return {
        "ALLOCATION_FLOWER_PORT": str(free_port()),
        "ALLOCATION_FLOWER_BASIC_AUTH": ":".join(LOGIN),
        # Enough children that a task always waits for its work.
        "ALLOCATION_CONCURRENCY": "6",
    }


def flower(system: System, login: tuple[str, str] | None = LOGIN) -> httpx.Client:
    """A client of the system's Flower."""
    return httpx.Client(
        base_url=f"http://127.0.0.1:{system.environment['ALLOCATION_FLOWER_PORT']}", auth=login, timeout=30
    )


@pytest.fixture(scope="module", params=["Valkey", "Redis"])
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """All processes on each kind of server, as a user with the documented rights, after some orders."""
    binary = (shutil.which("redis-server") or "") if request.param == "Redis" else ""
    if request.param == "Redis" and not binary:
        pytest.skip("needs the program redis-server; the same test has run with Valkey")
    with running(tmp_path_factory.mktemp("system"), binary=binary, **with_flower()) as system:
        setuser: Any = system.redis.execute_command
        setuser("ACL", "SETUSER", "allocation", "on", ">pa/ss", *least_rights())
        system.environment["ALLOCATION_REDIS_URL"] = f"redis://allocation:pa%2Fss@127.0.0.1:{system.server.port}/0"
        settle_orders(system)
        assert f"{request.param} " in system.logged()
        yield system


def allocation(system: System, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command."""
    return subprocess.run(
        [str(BIN / "allocation"), *words], env=system.environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_documented_rights_are_enough(system: System) -> None:
    """Processes and commands use only what the documented user may do."""
    for words in (["status"], ["explain", "sp_chain"], ["failed"], ["replay", "--merchant", "none"]):
        assert allocation(system, *words).returncode == 0, words
    system.wait_settled(10, 20)
    swept = system.redis.get("allocation:last_sweep")
    wait_until(lambda: system.redis.get("allocation:last_sweep") != swept, 10, "another sweep, which trims")
    assert len(system.allocated()) == 8
    assert system.redis.acl_log() == []


def test_flower_requires_a_login(system: System) -> None:
    """No page with data opens without the login, nor with another one."""
    paths = ("/", "/tasks", "/workers", "/broker", "/api/tasks", "/api/workers", "/allocation/metrics")
    for login in (None, (LOGIN[0], "guessed")):
        with flower(system, login) as client:
            responses = [client.get(path) for path in paths]
        assert {response.status_code for response in responses} == {401}


def test_flower_is_read_only(system: System) -> None:
    """With the login too, nothing can be sent, revoked or stopped."""
    paths = (
        "task/revoke/x",
        "task/apply/allocation.sweep",
        "task/async-apply/allocation.sweep",
        "task/send-task/allocation.sweep",
        "worker/shutdown/x",
        "worker/pool/shrink/x",
    )
    with flower(system) as client:
        assert {path: client.post(f"/api/{path}").status_code for path in paths} == dict.fromkeys(paths, 403)


FALLBACK_TASK = "allocation.fallback.carrier_service"


def shown_tasks(client: httpx.Client) -> list[dict[str, Any]]:
    """The tasks that Flower shows."""
    return list(client.get("/api/tasks").json().values())


def inspected(client: httpx.Client) -> dict[str, Any]:
    """The workers that respond to Flower, by name."""
    found: dict[str, Any] = client.get("/api/workers", params={"refresh": "1"}).json()
    return found


def listed_tasks(client: httpx.Client) -> list[dict[str, Any]]:
    """The rows of Flower's list of tasks."""
    form = {"draw": 1, "start": 0, "length": 1000, "order[0][column]": 0, "columns[0][data]": "received"}
    rows: list[dict[str, Any]] = client.post("/tasks/datatable", data=form).json()["data"]
    return rows


def lines(client: httpx.Client, name: str) -> set[tuple[str, str]]:
    """What the list shows of arguments and results of a task."""
    return {(row["args"], row["result"]) for row in listed_tasks(client) if row["name"] == name}


def test_flower_shows_tasks_as_lines(system: System) -> None:
    """Arguments and results are plain text, in the list and on the task's page."""
    with flower(system) as client:
        # Workers send their events a moment later, and Flower reads them then.
        settled = ("chain, 1 shipment, carrier_service", "1 allocated; 1 merchant")
        wait_until(lambda: settled in lines(client, FALLBACK_TASK), 20, "the link in Flower")
        started = [args for args, _ in lines(client, ALLOCATE_TASK)]
        (link,) = [row for row in listed_tasks(client) if row["name"] == FALLBACK_TASK]
        page, columns = client.get(f"/task/{link['uuid']}").text, client.get("/tasks").text
        tasks = shown_tasks(client)
    acme = r"acme(, 7| and \d more, \d) shipments, virtual_service FF_LINET-00001"
    assert any(re.fullmatch(acme, args) for args in started), started
    assert all(f"<code>{text}</code>" in page for text in (*settled, "chain: sp_chain"))
    shown = ["name", "uuid", "args", "state", "received", "runtime", "result"]
    assert re.findall(r'data-column="(\w+)"', columns) == shown
    assert 'href="/allocation/static/tasks.css"' in columns
    (raw,) = [task["args"] for task in tasks if task["name"] == FALLBACK_TASK]
    assert raw.startswith("({'merchant': 'chain', 'shipments': 1, 'claims': ['")
    # Sweeps ran all the time, and would displace the rest.
    assert system.redis.get("allocation:last_sweep")
    assert SWEEP_TASK not in {task["name"] for task in tasks}


def test_flower_shows_how_shipments_left(system: System) -> None:
    """The results of claim loops and links say how many fell back, were parked and failed."""
    nowhere, fallback = '{ virtual_service = "NONE" }', '[{ carrier_service = "NONE" }]'
    system.merchant("ends", v2_file(system.url, nowhere, fallback))
    system.merchant("keyless", v2_file(system.url, LINET, key="NO_SUCH_KEY"))
    before = system.settled()
    system.publish([order_event("ends", ["sp_e1", "sp_e2"]), order_event("keyless", ["sp_k1", "sp_k2", "sp_k3"])])
    with flower(system) as client:
        failed = ("ends, 2 shipments, carrier_service", "2 failed; 1 merchant")
        wait_until(lambda: failed in lines(client, FALLBACK_TASK), 30, "failed shipments in Flower")
        wait_until(
            lambda: any("2 fell back, 3 parked" in result for _, result in lines(client, ALLOCATE_TASK)),
            30,
            "parked shipments in Flower",
        )
    system.merchant("keyless", v2_file(system.url, LINET))
    system.wait_settled(before + 5, 30)


def test_flower_serves_the_metrics(system: System) -> None:
    """Behind the login: counters that equal the streams, and times."""
    with flower(system) as client:
        text = client.get("/allocation/metrics").text
    labels = 'adopted="false",fell_back="true",merchant="chain",rule="default",strategy="carrier_service EXPRESS"'
    assert f"allocation_shipments_allocated_total{{{labels}}} 1.0" in text
    assert 'allocation_events_rejected_total{reason="unknown_merchant"} 1.0' in text
    assert "allocation_settle_seconds_count{" in text
    assert system.counted_wrongly() == 0


def test_flower_knows_the_workers(system: System) -> None:
    """Flower's requests to the workers and to the broker finish, with results."""
    with flower(system) as client:
        wait_until(lambda: bool(inspected(client)), 20, "a worker in Flower")
        (worker,) = inspected(client).values()
        queues = client.get("/api/queues/length").json()["active_queues"]
    assert {queue["name"] for queue in worker["active_queues"]} == {"allocation", "allocation.sweep"}
    assert {queue["name"] for queue in queues} == {"allocation", "allocation.sweep"}


@pytest.mark.parametrize(
    ("auth", "advice"),
    [("", "set ALLOCATION_FLOWER_BASIC_AUTH=user:password"), ("shop:half,half", "a password without a comma")],
)
def test_flower_is_not_exposed(auth: str, advice: str, server: EmbeddedServer) -> None:
    """Beyond loopback Flower does not start without a login, nor with half of one."""
    environment = {
        "ALLOCATION_REDIS_URL": server.url,
        "ALLOCATION_FLOWER_ADDRESS": "0.0.0.0",  # noqa: S104  # what is refused
        "ALLOCATION_FLOWER_BASIC_AUTH": auth,
    }
    result = subprocess.run(
        [str(BIN / "allocation"), "flower"], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert advice in result.stderr


@pytest.mark.parametrize("way", ["MISCONF", "NOREPLICAS", "NOPERM", "NOAUTH"])
def test_a_start_while_the_server_refuses(way: str, tmp_path: Path) -> None:
    """Processes start and wait, a command ends with 1 and one line, and everything works when the refusal ends."""
    with running(tmp_path, **with_flower()) as system:
        system.merchant("acme", v2_file(system.url, LINET))
        system.publish(ORDERS[:1])
        order = tmp_path / "order.json"
        order.write_text(json.dumps(ORDERS[0]))
        with REFUSALS[way](system):
            system.start(*ROLES)
            result = allocation(system, "publish", str(order))
            assert result.returncode == 1
            (line,) = result.stderr.splitlines()
            assert line.startswith("Error: redis://127.0.0.1:")
            assert " refuses: " in line
            assert line.endswith("; fix the cause, then try again")
            wait_until(lambda: "intake_interrupted" in system.logged(), 10, "intake waiting")
            time.sleep(2)  # the fault itself
        system.wait_settled(7, 30)
        with flower(system) as client:
            wait_until(lambda: shows_queues(client), 20, "Flower")
        assert [role for role, process in system.processes.items() if process.poll() is not None] == []
        assert "Traceback" not in system.logged()


def shows_queues(client: httpx.Client) -> bool:
    """Whether Flower shows its queues."""
    try:
        return client.get("/api/queues/length").status_code == 200
    except httpx.TransportError:
        return False


def test_a_user_without_info(tmp_path: Path) -> None:
    """Without `+info` everything works; processes and `status` warn that a server change will not be detected."""
    with running(tmp_path) as system:
        system.merchant("acme", v2_file(system.url, LINET))
        system.publish(ORDERS[:1])
        system.redis.execute_command("ACL", "SETUSER", "default", "-info")
        system.start("intake", "worker", "beat")
        system.wait_settled(7, 30)
        assert "redis_unsafe" in system.logged()
        assert "+info" in allocation(system, "status").stdout
        assert [role for role, process in system.processes.items() if process.poll() is not None] == []


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for `localhost`."""
    return certificate(tmp_path_factory.mktemp("tls"))


def test_orders_over_tls(signed: Certificate, tmp_path: Path) -> None:
    """Ledger, broker and Flower use TLS to a server whose CA is in the URL, and check its certificate."""
    with running(tmp_path, **with_flower()) as system, TlsProxy(signed, system.server.port) as front:
        system.environment["ALLOCATION_REDIS_URL"] = f"rediss://localhost:{front.port}/0?ssl_ca_certs={signed.path}"
        settle_orders(system)
        assert len(system.allocated()) == 8
        with flower(system) as client:
            assert client.get("/api/queues/length").status_code == 200
        assert "redis_unsafe" not in system.logged()
        assert front.accepted > len(ROLES)
        for role in ROLES:
            system.kill(role)


@pytest.mark.parametrize("url", ["rediss://localhost:{port}/0", "rediss://127.0.0.1:{port}/0?ssl_ca_certs={ca}"])
def test_a_server_without_a_valid_certificate_is_not_used(
    signed: Certificate, server: EmbeddedServer, url: str
) -> None:
    """Neither ledger nor broker use a server with an unknown certificate, or with another name."""
    with TlsProxy(signed, server.port) as front:
        settings = Settings(_env_file=None, redis_url=SecretStr(url.format(port=front.port, ca=signed.path)))
        with pytest.raises(RedisError, match="CERTIFICATE_VERIFY_FAILED"):
            asyncio.run(unsafe_settings(settings))
        app = configure(Celery(set_as_current=False), settings)
        with app.connection_for_write() as broker, pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
            broker.ensure_connection(max_retries=1, interval_start=0)
        assert front.accepted == 0


def test_disabled_tls_checks_are_logged(signed: Certificate, server: EmbeddedServer) -> None:
    """With certificate checks disabled, every start logs a warning."""
    with TlsProxy(signed, server.port) as front:
        url = f"rediss://localhost:{front.port}/0?ssl_cert_reqs=none"
        unsafe = asyncio.run(unsafe_settings(Settings(_env_file=None, redis_url=SecretStr(url))))
        assert any("TLS" in line for line in unsafe)


async def unsafe_settings(settings: Settings) -> list[str]:
    """What is unsafe at the server."""
    redis = connect(settings)
    try:
        return (await describe(redis, settings)).unsafe
    finally:
        await redis.aclose()
